"""What stacks that were brought up by an earlier version consist of: this version must register exactly that."""
