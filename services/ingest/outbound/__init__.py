"""Facts posted to addresses that an organization names."""
