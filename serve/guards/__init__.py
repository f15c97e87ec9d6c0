"""What stands between the network and the routes: keys, limits, and what is seen of requests."""
