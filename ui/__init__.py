"""What people see: command line, web server, chat page, console. Formats what was decided below; never decides."""
