"""From a scan to a label and risk maps on its own grid."""
