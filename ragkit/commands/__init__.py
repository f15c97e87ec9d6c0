"""The commands below `ragkit eval` and `ragkit train`, a file each, named by the command."""
