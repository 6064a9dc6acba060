"""What a run keeps on the disk: its folder, its journal, its lock, and how a dataset is found again."""
