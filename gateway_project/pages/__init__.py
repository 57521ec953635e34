"""The console's pages for people who read: dashboard, logs, costs. They join the rooms."""
