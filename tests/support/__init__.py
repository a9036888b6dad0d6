"""What tests of several kinds share: waiting, the real services, the whole stack."""
