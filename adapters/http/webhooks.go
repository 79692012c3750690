package httpapi

import (
	"net/http"

	"portico/adapters/http/webhook"
	"portico/core"
)

const tagWebhooks = "outbound webhooks"

// webhookOperations are those of outbound webhooks.
func (a *Adapter) webhookOperations() []operation {
	all := append(a.webhookEndpoints(), a.webhookStates()...)
	all = append(all, a.webhookDeliveries()...)
	for i := range all {
		all[i].tag = tagWebhooks
		all[i].fails = append(all[i].fails, core.CodeNotFound, core.CodeTimeout, core.CodeUnimplemented)
	}
	return all
}

func webhookName() param {
	return inPath("name", "The webhook's name: 1 to 64 letters, digits, _ and -", "shop").within(1, 64)
}

func deliveryID() param {
	return inPath("id", "The delivery's id, which receivers know as webhook-id", "msg_019ab9b5c2f7b1a2c3d4e5f60718293a").within(1, 128)
}

func (a *Adapter) webhookEndpoints() []operation {
	shown := jsonOf(webhookShown{}, exampleWebhook())
	return []operation{
		{
			id: "listWebhooks", method: http.MethodGet, path: "/v1/webhooks", handle: a.withWebhooks(a.listWebhooks),
			summary: "List webhooks", description: "By name; those whose queue the user may not consume are left out.", params: pageParams(), answers: pageAnswer(webhookList{}),
		},
		{
			id: "putWebhook", method: http.MethodPut, path: "/v1/webhooks/{name}", handle: a.withWebhooks(a.putWebhook), summary: "Create or change a webhook",
			description: "Needs permission to subscribe to the subjects and to the queue `webhook.NAME`, and to publish to the dead-letter queue. What is left out has its default, also where the webhook " +
				"was there; but its secret stays. The secret is in the answer of the creation, and nowhere else.",
			params: []param{webhookName(), jsonEncoding()}, request: jsonOf(webhookRequest{}, exampleWebhookRequest()),
			answers: map[int]answer{
				http.StatusCreated: {description: "It was created", body: shown},
				http.StatusOK:      {description: "It was changed", body: shown},
			},
			fails: []core.Code{core.CodeLocked, core.CodePreconditionFailed, core.CodeResourceExhausted},
		},
		{
			id: "getWebhook", method: http.MethodGet, path: "/v1/webhooks/{name}", handle: a.withWebhooks(a.getWebhook), summary: "Describe a webhook",
			params: []param{webhookName()}, answers: okJSON("The webhook", webhookShown{}, exampleWebhook()),
		},
		{
			id: "deleteWebhook", method: http.MethodDelete, path: "/v1/webhooks/{name}", handle: a.withWebhooks(a.deleteWebhook), summary: "Delete a webhook",
			description: "With its queue and its log. Requests under way are cut.", params: []param{webhookName()}, answers: noContent("It is gone"),
		},
	}
}

func (a *Adapter) webhookStates() []operation {
	return []operation{
		{
			id: "testWebhook", method: http.MethodPost, path: "/v1/webhooks/{name}/test", handle: a.withWebhooks(a.testWebhook), summary: "Send a test event",
			description: "At once and beside the queue, also when the webhook is disabled. Its attempt is the answer, whatever came of it.",
			params:      []param{webhookName()}, answers: okJSON("The attempt", webhookTested{}, nil), fails: []core.Code{core.CodeResourceExhausted},
		},
		{
			id: "rotateWebhookSecret", method: http.MethodPost, path: "/v1/webhooks/{name}/rotate-secret", handle: a.withWebhooks(a.rotateWebhook), summary: "Change the secret",
			description: "The one before signs too for the time of overlap: requests have both signatures. The new one is in the answer, and nowhere else.",
			params:      []param{webhookName(), jsonEncoding()}, request: jsonOf(webhookRotation{}, map[string]any{"overlap": 3_600_000}),
			answers: okJSON("The webhook with its new secret", webhookShown{}, exampleWebhook()), fails: []core.Code{core.CodeResourceExhausted},
		},
		{
			id: "enableWebhook", method: http.MethodPost, path: "/v1/webhooks/{name}/enable", handle: a.withWebhooks(a.enableWebhook(true)), summary: "Let a webhook deliver",
			params: []param{webhookName()}, answers: okJSON("The webhook", webhookShown{}, exampleWebhook()), fails: []core.Code{core.CodePreconditionFailed, core.CodeLocked, core.CodeResourceExhausted},
		},
		{
			id: "disableWebhook", method: http.MethodPost, path: "/v1/webhooks/{name}/disable", handle: a.withWebhooks(a.enableWebhook(false)), summary: "Stop a webhook",
			description: "What is published meanwhile waits in its queue.", params: []param{webhookName()}, answers: okJSON("The webhook", webhookShown{}, exampleWebhook()),
		},
	}
}

func (a *Adapter) webhookDeliveries() []operation {
	since := inQuery("since", "Begin with those taken in then or later: a time, or a duration that means so long ago", "", "10m").within(1, 64)
	status := inQuery("status", "Only those of this status", "", "failed").oneOf(string(webhook.Pending), string(webhook.DeliverySucceeded), string(webhook.DeliveryFailed))
	full := []core.Code{core.CodePreconditionFailed, core.CodeResourceExhausted}
	return []operation{
		{
			id: "listWebhookDeliveries", method: http.MethodGet, path: "/v1/webhooks/{name}/deliveries", handle: a.withWebhooks(a.listDeliveries), summary: "List deliveries",
			description: "From the log, in the order in which the messages were taken in. The log keeps 7 days and 64 MiB. A page may have fewer than `limit` although there are more: follow `next`.",
			params:      append([]param{webhookName(), status, since}, pageParams()...), answers: pageAnswer(deliveryList{}),
		},
		{
			id: "getWebhookDelivery", method: http.MethodGet, path: "/v1/webhooks/{name}/deliveries/{id}", handle: a.withWebhooks(a.getDelivery), summary: "Describe a delivery",
			description: "With all its attempts.", params: []param{webhookName(), deliveryID()}, answers: okJSON("The delivery", webhook.Delivery{}, nil),
		},
		{
			id: "retryWebhookDelivery", method: http.MethodPost, path: "/v1/webhooks/{name}/deliveries/{id}/retry", handle: a.withWebhooks(a.retryDelivery), summary: "Send a delivery again",
			description: "One that waits is attempted as soon as its turn comes; one that has ended goes behind all others, under its old id. Payloads above 64 KiB are not kept: 409.",
			params:      []param{webhookName(), deliveryID()}, fails: full,
			answers: map[int]answer{http.StatusAccepted: {description: "It will be sent", body: jsonOf(webhook.Delivery{}, nil)}},
		},
		{
			id: "replayWebhook", method: http.MethodPost, path: "/v1/webhooks/{name}/replay", handle: a.withWebhooks(a.replayWebhook), summary: "Send deliveries again",
			description: "Those since a time that failed, or all that have ended, in their order and under their old ids. At most 10,000 at once: with `next` as the `cursor` it goes on.",
			params:      []param{webhookName(), jsonEncoding()}, request: jsonOf(webhookReplay{}, map[string]any{"since": "2026-01-02T15:04:05Z", "only": "failed"}), fails: full,
			answers: map[int]answer{http.StatusAccepted: {description: "They are in the queue", body: jsonOf(webhook.Replayed{}, nil)}},
		},
	}
}

func exampleWebhookRequest() any {
	return map[string]any{"url": "https://example.com/hook", "subjects": []string{"orders.>"}}
}

func exampleWebhook() any {
	s := webhook.Defaults()
	s.URL, s.Subjects = "https://example.com/hook", []string{"orders.>"}
	return webhookShown{Endpoint: webhook.Endpoint{Name: "shop", Spec: s, Queue: "webhook.shop", State: webhook.Active, Secrets: 1}}
}
