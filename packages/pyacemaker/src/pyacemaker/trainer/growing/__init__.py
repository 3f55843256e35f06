"""The trainer `esper`: networks on ACE descriptors that grow with the campaign."""
