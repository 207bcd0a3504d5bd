"""What `import systomesh` gives notebooks, scripts and tests. Each module is imported only when it is needed."""
