package differential

// Reasons that several operations share.
const (
	whyWords   = "another wording: RabbitMQ's is in terms of Erlang, or does not say what came"
	whyDropped = "RabbitMQ's reader crashes and drops the socket"
	whySilence = "RabbitMQ says nothing to a client that has not logged in, and lets it wait for three seconds"
	whyLenient = "RabbitMQ does not look, the specification does"
	whyCode    = "another hard error for what no client library sends"
	whyModes   = "3.13 no longer looks at the delivery mode"
	whyCopies  = "3.13 keeps the header CC when the dead letter has a key of its own"
	whyPlace   = "without a delivery limit RabbitMQ puts what comes back to a quorum queue at its end, with one at its place: ours has it at its place always"
	whyClient  = "3.13 reads x-death as a client gives it, and notes first and last death whatever it says"
)

// known are the differences that are meant to be, by script and operation. RabbitMQ here is what Debian ships (3.10), the gateway is 3.13.
func known() map[string]differences {
	return map[string]differences{
		"quorum": {
			`c1 queue.declare "quorum.bad10" durable {x-delivery-limit: "3", x-queue-type: "quorum"}`: {
				ours: `channel 406 PRECONDITION_FAILED - invalid arg 'x-delivery-limit' for queue 'quorum.bad10' in vhost '/': "expected integer, got longstr" (queue.declare)`,
				why:  "RabbitMQ takes it and has no limit then",
			},
			`c1 basic.get "quorum.q" noack (2)`: {
				ours: `"a" via /quorum.q redelivered headers={x-delivery-count: l1} left=2`,
				why:  whyPlace,
			},
			`c1 basic.get "quorum.q" noack (3)`: {
				ours: `"b" via /quorum.q left=1`,
				why:  whyPlace,
			},
			`c1 basic.get "quorum.q" noack (4)`: {
				ours: `"c" via /quorum.q left=0`,
				why:  whyPlace,
			},
			`c1 basic.get "quorum.q" noack (11)`: {
				ours: `"recovered" via /quorum.q redelivered headers={x-delivery-count: l1} left=1`,
				why:  whyPlace,
			},
			`c1 basic.get "quorum.q" noack (12)`: {
				ours: `"next" via /quorum.q left=0`,
				why:  whyPlace,
			},
			`c1 basic.consume "quorum.q" "y"`: {
				ours: `channel 403 ACCESS_REFUSED - queue 'quorum.q' in vhost '/' in exclusive use (basic.consume)`,
				why:  "RabbitMQ forgets the exclusive consumer of a quorum queue; exclusive is exclusive",
			},
			`c1 basic.get "quorum.letters" noack (2)`: {
				ours: `"rejected" via /quorum.letters headers={CC: ["quorum.nobody"], h: "v", x-death: [{count: l1, exchange: "", queue: "quorum.dead", reason: "rejected", routing-keys: ["quorum.dead", "quorum.nobody"], time: Tnow}], x-first-death-exchange: "", x-first-death-queue: "quorum.dead", x-first-death-reason: "rejected", x-last-death-exchange: "", x-last-death-queue: "quorum.dead", x-last-death-reason: "rejected"} left=0`,
				why:  whyCopies,
			},
		},
		"stream": {
			`m1 basic.consume "stream.q" "s" {x-stream-offset: "middle"}`: {
				ours: `channel 406 PRECONDITION_FAILED - invalid arg 'x-stream-offset' for queue 'stream.q' in vhost '/': {invalid_stream_offset_arg,{longstr,<<"middle">>}} (basic.consume)`,
				why:  "3.10 fails inside, 3.13 checks",
			},
			`n1 basic.consume "stream.q" "s" {x-stream-offset: true}`: {
				ours: `channel 406 PRECONDITION_FAILED - invalid arg 'x-stream-offset' for queue 'stream.q' in vhost '/': {invalid_stream_offset_arg,{bool,true}} (basic.consume)`,
				why:  "RabbitMQ fails inside",
			},
			`c1 basic.nack 0 multiple requeue`: {
				ours: `ok`,
				why:  "3.13 takes every settlement of a stream's message for an acknowledgement",
			},
		},
		"queues": {
			`d1 queue.unbind "queue.mine" "amq.fanout" ""`: {
				ours: `channel 405 RESOURCE_LOCKED - cannot obtain exclusive access to locked queue 'queue.mine' in vhost '/'. It could be originally declared on another connection or the exclusive property value does not match that of the original declaration. (queue.unbind)`,
				why:  "RabbitMQ looks whose queue it is only if the binding exists",
			},
			`c1 queue.declare "queue.args" {x-queue-master-locator: "nowhere"}`: {
				ours: `ok queue.args ready=0 consumers=0`,
				why:  "RabbitMQ fails inside; where a queue lives means nothing here",
			},
		},
		"publish": {
			`p1 basic.publish "" "publish.q" "odd mode" delivery-mode=0`: {
				ours: `ack`,
				why:  whyModes,
			},
			`c1 basic.get "publish.q" noack (6)`: {
				ours: `"odd mode" via /publish.q delivery-mode=0 left=0`,
				why:  whyModes,
			},
			`p1 basic.publish "" "publish.q" "odd mode" delivery-mode=3`: {
				ours: `ack`,
				why:  whyModes,
			},
			`c1 basic.get "publish.q" noack (7)`: {
				ours: `"odd mode" via /publish.q delivery-mode=3 left=0`,
				why:  whyModes,
			},
			`p1 basic.publish "" "publish.q" "odd mode" delivery-mode=255`: {
				ours: `ack`,
				why:  whyModes,
			},
			`c1 basic.get "publish.q" noack (8)`: {
				ours: `"odd mode" via /publish.q delivery-mode=255 left=0`,
				why:  whyModes,
			},
			`p1 basic.publish "" "publish.none" "bbbbbbbbbbbbbbbb"... of 17825792`: {
				ours: `channel 406 PRECONDITION_FAILED - message size 17825792 is larger than configured max size 16777216 (basic.publish)`,
				why:  "max_message is 16 MiB unless configured, RabbitMQ's is 128 MiB before 4.0",
			},
			`c1 queue.bind "publish.q" "amq.direct" "\xff\xfe"`: {
				ours: `connection 501 FRAME_ERROR - queue.bind: malformed UTF-8 in a short string (queue.bind)`,
				why:  whyWords,
			},
		},
		"handshake": {
			`login with an unknown mechanism`: {
				ours: `connection 503 COMMAND_INVALID - unknown authentication mechanism 'SCRAM-SHA-256' (method 0.0)`,
				why:  whySilence,
			},
			`login with a malformed response`: {
				ours: `connection 502 SYNTAX_ERROR - malformed PLAIN response (method 0.0)`,
				why:  whySilence,
			},
			`login with more channels than offered`: {
				ours: `connection 530 NOT_ALLOWED - negotiated channel_max = 2048 is higher than the maximum allowed value (2047) (method 0.0)`,
				why:  whySilence,
			},
			`login with no limit to channels`: {
				ours: `connection 530 NOT_ALLOWED - negotiated channel_max = 0 is higher than the maximum allowed value (2047) (method 0.0)`,
				why:  whySilence,
			},
			`login with larger frames than offered`: {
				ours: `connection 530 NOT_ALLOWED - negotiated frame_max = 131073 is higher than the maximum allowed value (131072) (method 0.0)`,
				why:  whySilence,
			},
			`login with no limit to frames`: {
				ours: `connection 530 NOT_ALLOWED - negotiated frame_max = 0 is higher than the maximum allowed value (131072) (method 0.0)`,
				why:  whySilence,
			},
			`login with frames that are too small`: {
				ours: `connection 530 NOT_ALLOWED - negotiated frame_max = 4095 is lower than the minimum allowed value (4096) (method 0.0)`,
				why:  whySilence,
			},
		},
		"reply-to": {
			`d1 basic.publish "" "amq.rabbitmq.reply-to.*" "and another" mandatory`: {
				ours: `ok`,
				why:  "RabbitMQ delivers the answer and returns it nevertheless",
			},
			`c1 expect 2`: {
				ours: `#1 to r "answer" via /amq.rabbitmq.reply-to.* headers={h: "v"} correlation-id="1" | #2 to r "and another" via /amq.rabbitmq.reply-to.*`,
				why:  "answers have delivery tags of their own; nobody acknowledges them",
			},
		},
		"exchanges": {
			`c1 exchange.declare "exchange.odd"`: {
				ours: `channel 406 PRECONDITION_FAILED - invalid exchange type '' (exchange.declare)`,
				why:  "3.13: a type nobody knows is the channel's error, not the connection's",
			},
			`c1 exchange.declare "exchange.odd" unheard`: {
				ours: `channel 406 PRECONDITION_FAILED - unknown exchange type 'unheard' (exchange.declare)`,
				why:  "3.13: a type nobody knows is the channel's error, not the connection's",
			},
		},
		"dead": {
			`c1 basic.get "dead.letters" noack (14)`: {
				ours: `"prepared" via dead.x/dead.rejected headers={x-death: [{count: l6, exchange: "elsewhere", queue: "dead.rejected", reason: "rejected", routing-keys: ["k"], time: T1600000000}], x-last-death-exchange: "", x-last-death-queue: "dead.rejected", x-last-death-reason: "rejected"} left=0`,
				why:  whyClient,
			},
			`c1 basic.get "dead.letters" noack (16)`: {
				ours: `"prepared" via dead.x/dead.rejected headers={x-death: [{count: l1, exchange: "", queue: "dead.rejected", reason: "rejected", routing-keys: ["dead.rejected"], time: Tnow}], x-first-death-exchange: "", x-first-death-queue: "dead.rejected", x-first-death-reason: "rejected", x-last-death-exchange: "", x-last-death-queue: "dead.rejected", x-last-death-reason: "rejected"} left=0`,
				why:  whyClient,
			},
		},
		"dead route": {
			`c1 basic.get "route.any" noack (6)`: {
				ours: `"copies, new key" via route.topic/new.key headers={CC: ["cc.1", "cc.2"], x: "y", x-death: [{count: l1, exchange: "", queue: "route.new", reason: "rejected", routing-keys: ["route.new", "cc.1", "cc.2"], time: Tnow}], x-first-death-exchange: "", x-first-death-queue: "route.new", x-first-death-reason: "rejected", x-last-death-exchange: "", x-last-death-queue: "route.new", x-last-death-reason: "rejected"} left=0`,
				why:  whyCopies,
			},
		},
		"connection errors": {
			`frame of an unknown type`: {
				ours: `connection 501 FRAME_ERROR - unknown frame type 9 (method 0.0)`,
				why:  whyWords,
			},
			`frame with a wrong end`: {
				ours: `connection 501 FRAME_ERROR - frame end octet is 0x00, not 0xCE (method 0.0)`,
				why:  whyWords,
			},
			`frame above frame_max`: {
				ours: `connection 501 FRAME_ERROR - frame payload of 131073 octets is larger than frame_max allows (131064) (method 0.0)`,
				why:  whyWords,
			},
			`heartbeat on a channel`: {
				ours: `connection 505 UNEXPECTED_FRAME - heartbeat frame on channel 1 (method 0.0)`,
				why:  whyWords,
			},
			`header without a method`: {
				ours: `connection 505 UNEXPECTED_FRAME - expected method frame, got content header frame instead (method 0.0)`,
				why:  whyWords,
			},
			`body without a method`: {
				ours: `connection 505 UNEXPECTED_FRAME - expected method frame, got content body frame instead (method 0.0)`,
				why:  whyWords,
			},
			`method where a header is due`: {
				ours: `connection 505 UNEXPECTED_FRAME - expected content header, got method frame instead (basic.publish)`,
				why:  whyWords,
			},
			`body where a header is due`: {
				ours: `connection 505 UNEXPECTED_FRAME - expected header frame, got content body frame instead (basic.publish)`,
				why:  whyWords,
			},
			`header where a body is due`: {
				ours: `connection 505 UNEXPECTED_FRAME - expected body frame, got content header frame instead (basic.publish)`,
				why:  whyWords,
			},
			`method where a body is due`: {
				ours: `connection 505 UNEXPECTED_FRAME - expected content body, got method frame instead (basic.publish)`,
				why:  whyWords,
			},
			`body longer than announced`: {
				ours: `connection 501 FRAME_ERROR - content body of 1 octets more than announced (basic.publish)`,
				why:  whyLenient,
			},
			`body of unearthly size`: {
				ours: `channel 406 PRECONDITION_FAILED - message size 1099511627776 is larger than configured max size 16777216 (basic.publish)`,
				why:  whyLenient,
			},
			`content on a channel that is not open`: {
				ours: `connection 504 CHANNEL_ERROR - expected 'channel.open' (method 0.0)`,
				why:  whyCode,
			},
			`channel above channel_max`: {
				ours: `connection 530 NOT_ALLOWED - channel number 2048 is above the negotiated channel_max (2047) (method 0.0)`,
				why:  whyLenient,
			},
			`channel.open on channel 0`: {
				ours: `connection 503 COMMAND_INVALID - channel.open on channel 0 (channel.open)`,
				why:  whyCode,
			},
			`queue.declare on channel 0`: {
				ours: `connection 503 COMMAND_INVALID - queue.declare on channel 0 (queue.declare)`,
				why:  whyCode,
			},
			`connection.open on a channel`: {
				ours: `connection 503 COMMAND_INVALID - unimplemented method connection.open (connection.open)`,
				why:  whyWords,
			},
			`close-ok unasked on channel 0`: {
				ours: `still open`,
				why:  whyCode,
			},
			`the server's method`: {
				ours: `connection 503 COMMAND_INVALID - unimplemented method basic.deliver (basic.deliver)`,
				why:  whyLenient,
			},
			`basic.get-empty from a client`: {
				ours: `connection 503 COMMAND_INVALID - unimplemented method basic.get-empty (basic.get-empty)`,
				why:  whyWords,
			},
			`unknown class`: {
				ours: `connection 540 NOT_IMPLEMENTED - unknown method 10 of class 99 (method 99.10)`,
				why:  whyDropped,
			},
			`unknown method`: {
				ours: `connection 540 NOT_IMPLEMENTED - unknown method 99 of class 60 (method 60.99)`,
				why:  whyDropped,
			},
			`arguments cut short`: {
				ours: `connection 502 SYNTAX_ERROR - queue.declare: short string is cut short (queue.declare)`,
				why:  whyCode,
			},
			`unknown table tag`: {
				ours: `connection 502 SYNTAX_ERROR - queue.declare: unknown table value tag 0x5A (queue.declare)`,
				why:  whyDropped,
			},
			`the end of a channel in the midst of a publish`: {
				ours: `connection 505 UNEXPECTED_FRAME - expected content body, got method frame instead (basic.publish)`,
				why:  whyWords,
			},
			`method frame without a method`: {
				ours: `connection 502 SYNTAX_ERROR - method frame of 2 octets (method 0.0)`,
				why:  whyCode,
			},
		},
	}
}
