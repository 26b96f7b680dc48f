"""JSON over HTTP to protobuf and back, from the descriptors of the contracts alone."""
