"""The web application: pages and an API over what queries/ answers; what it writes are requests and audience files."""
