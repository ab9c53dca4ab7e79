"""Other libraries doing the same works, a file each, whose imports fail where the library is missing."""
