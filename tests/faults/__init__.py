"""Tests that kill the job and look for what is lost."""
