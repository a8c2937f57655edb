"""What people see of an evaluation or an audit: tables, pictures and pages."""
