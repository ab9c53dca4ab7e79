"""The command line: thin, it only composes the library. The entry point is `jaxcert.cli.main.main`."""
