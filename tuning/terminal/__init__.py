"""What `manage.py run_task` shows: progress while it runs, and the results at the end."""
