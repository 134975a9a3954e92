/// Placeholder so that the package builds before the module is written.
