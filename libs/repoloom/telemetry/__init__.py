"""What a running system says of itself: metrics, traces and logs, none of which ever holds a secret."""
