"""Numbers that are connected through Evolution: made, paired by QR code, watched, and told of."""
