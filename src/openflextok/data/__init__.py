"""Pictures for training and measuring: where they come from, how they are checked, and how they become batches."""
