"""What a person acts on: tables and places, computed once here and shown by every client."""
