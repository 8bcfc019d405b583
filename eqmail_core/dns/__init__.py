"""DNS lookups for mail: resolver, cache, MX selection and DNS lists."""
