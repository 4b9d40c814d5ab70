"""What is told about rows and datasets: previews, audits, reports, pages."""
