"""What any live or paced feed needs without Spark: pacing, packing, Kafka."""
