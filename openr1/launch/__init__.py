"""Start the processes a plan asks for and watch them. A launch is data first: argv, environment, log."""
