"""`ragkit eval context`: prompts as they are served."""
