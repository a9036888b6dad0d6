"""The console: server-rendered pages for monitoring officers, posts and carriers."""
