"""What benches/run measures, keeps and shows."""
