"""What several test folders share: published networks, small architectures, strategies for regions."""
