"""What is noticed about a folder before anything is learned from it. Nothing here changes a file."""
