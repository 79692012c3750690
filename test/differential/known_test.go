package differential

// known are the differences that are meant to be, by script and operation. RabbitMQ here is what Debian ships (3.10), the gateway is 3.13.
func known() map[string]differences {
	return map[string]differences{}
}
