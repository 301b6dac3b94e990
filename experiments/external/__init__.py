"""Files that come from elsewhere: the hub, downloads, published and users' own weights."""
