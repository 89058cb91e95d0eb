"""What the command line's single steps do: the rooms called one at a time, without Prefect."""
