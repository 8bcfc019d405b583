"""RFC 5322 text: addresses, headers, dates, trace fields."""
