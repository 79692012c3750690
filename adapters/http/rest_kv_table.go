package httpapi

import (
	"net/http"

	"portico/core"
)

const (
	tagKV      = "key-value"
	tagObjects = "objects"
)

// kvOperations are those of key-value buckets.
func (a *Adapter) kvOperations() []operation {
	return append(a.bucketOperations(), a.valueOperations()...)
}

func bucketName() param {
	return inPath("bucket", "The bucket's name: letters, digits, - and _", "settings").within(1, maxName)
}

func (a *Adapter) bucketOperations() []operation {
	shown := jsonOf(bucketShown{}, nil)
	gone := []core.Code{core.CodeNotFound, core.CodeTimeout}
	return []operation{
		{
			id: "listBuckets", method: http.MethodGet, path: "/v1/kv", tag: tagKV, handle: a.listBuckets,
			summary: "List key-value buckets", params: pageParams(), answers: pageAnswer(bucketList{}), fails: []core.Code{core.CodeTimeout},
		},
		{
			id: "putBucket", method: http.MethodPut, path: "/v1/kv/{bucket}", tag: tagKV, handle: a.putBucket,
			summary: "Create or change a key-value bucket", description: "What is left out has its default, not what it was.",
			params: append([]param{bucketName()}, configConditions()...), request: jsonOf(bucketConfig{}, bucketConfig{History: 5}),
			answers: ensured(shown, "It was there, and has these properties now"), refuses: []int{http.StatusPreconditionFailed},
			fails: append([]core.Code{core.CodePreconditionFailed, core.CodeResourceExhausted, core.CodeUnimplemented}, gone...),
		},
		{
			id: "getBucket", method: http.MethodGet, path: "/v1/kv/{bucket}", tag: tagKV, handle: a.getBucket,
			summary: "Describe a key-value bucket", params: []param{bucketName()},
			answers: map[int]answer{http.StatusOK: {description: "The bucket", headers: tagged(), body: shown}}, fails: gone,
		},
		ifUnchanged(operation{
			id: "deleteBucket", method: http.MethodDelete, path: "/v1/kv/{bucket}", tag: tagKV, handle: a.deleteBucket,
			summary: "Delete a key-value bucket", description: "With everything in it.", params: []param{bucketName()}, answers: noContent("It is gone"), fails: gone,
		}),
		{
			id: "listKeys", method: http.MethodGet, path: "/v1/kv/{bucket}/keys", tag: tagKV, handle: a.listKeys,
			summary: "List keys", description: "Those that have a value, in order.", params: append([]param{bucketName(), keyPattern()}, pageParams()...),
			answers: pageAnswer(keyList{}), fails: gone,
		},
		{
			id: "watchBucket", method: http.MethodGet, path: "/v1/kv/{bucket}/watch", tag: tagKV, handle: a.watch,
			summary: "Watch keys change",
			description: "Server-sent events, or NDJSON if that is accepted: first the present values, then `ready`, then each `change`, its id the revision. Who comes back with Last-Event-ID gets " +
				"what has changed since.",
			params:  []param{bucketName(), keyPattern(), inQuery("from", "Begin with what has changed since this revision", uint64(0), nil).within(0, maxPosition), lastEvent(), acceptHeader()},
			answers: map[int]answer{http.StatusOK: eventAnswer()}, fails: append([]core.Code{core.CodeResourceExhausted, core.CodePreconditionFailed}, gone...),
		},
	}
}

func keyPattern() param {
	return inQuery("pattern", "Which keys: `*` is one part between dots, `>` the rest; all by default", "", "mail.>").of(formPattern)
}

// revisionHeaders tell of a value which one it is.
func revisionHeaders() []param {
	return []param{
		inHeader("ETag", "The revision in quotes, for If-Match", "", `"7"`), inHeader("Portico-Revision", "The revision", uint64(0), 7),
	}
}

func keyParams() []param {
	return []param{bucketName(), inPath("key", "The key, percent-encoded: a slash in it is %2F", "mail.sender").within(1, maxPattern)}
}

// conflicted is the answer when a condition does not hold.
func conflicted() answer {
	return answer{description: "The condition does not hold", headers: revisionHeaders(), body: &content{types: []string{problemType}, value: conflict{}}}
}

func (a *Adapter) valueOperations() []operation {
	const at = "/v1/kv/{bucket}/keys/{key}"
	gone := []core.Code{core.CodeNotFound, core.CodeTimeout}
	reading := append(keyParams(), inQuery("revision", "What it was then, instead of what it is", uint64(0), nil).within(1, maxPosition),
		ifMatch("Only if the value has one of these revisions"), ifNoneMatch("Only if the value has none of these revisions"))
	value := answer{description: "The value", headers: append(revisionHeaders(), inHeader("Last-Modified", "When it was put", "", nil)),
		body: &content{types: []string{"application/octet-stream"}, text: "The value as it was put"}}
	read := map[int]answer{http.StatusOK: value, http.StatusNotModified: {description: "It is one of those that the client has"}, http.StatusPreconditionFailed: conflicted()}
	changed := answer{description: "The value is on disk", headers: revisionHeaders(), body: jsonOf(written{}, written{"mail.sender", 8})}
	created := changed
	created.description = "The value is on disk, and there was none as the condition demands"
	return []operation{
		{
			id: "getValue", method: http.MethodGet, path: at, tag: tagKV, handle: a.getValue,
			summary: "Get a value", description: "The body is the value, byte for byte; a bucket knows no content types.", params: reading, answers: read, fails: gone,
		},
		{
			id: "headValue", method: http.MethodHead, path: at, tag: tagKV, handle: a.getValue,
			summary: "See whether a key has a value, and which revision", params: reading, fails: gone,
			answers: map[int]answer{
				http.StatusOK:          {description: "It has", headers: value.headers},
				http.StatusNotModified: {description: "It is one of those that the client has"}, http.StatusPreconditionFailed: {description: "It is none of those"},
			},
		},
		{
			id: "putValue", method: http.MethodPut, path: at, tag: tagKV, handle: a.putValue,
			summary: "Set a value", description: "With If-Match only if it is still the revision that the client has seen, with `If-None-Match: *` only if there is none.",
			params:  append(keyParams(), ifMatch("Only if the value has one of these revisions; `*`: only if there is one"), ifNoneMatch("`*`: only if there is no value")),
			request: rawBody("The value"),
			answers: map[int]answer{http.StatusOK: changed, http.StatusCreated: created, http.StatusPreconditionFailed: conflicted()},
			fails:   append([]core.Code{core.CodePreconditionFailed, core.CodeResourceExhausted}, gone...),
		},
		{
			id: "deleteValue", method: http.MethodDelete, path: at, tag: tagKV, handle: a.deleteValue,
			summary: "Delete a value", description: "A key without one is no error.",
			params: append(keyParams(), inQuery("purge", "Its history too", false, nil), ifMatch("Only if the value has one of these revisions"),
				ifNoneMatch("Not understood here")),
			answers: map[int]answer{http.StatusNoContent: {description: "There is no value"}, http.StatusPreconditionFailed: conflicted()},
			fails:   append([]core.Code{core.CodePreconditionFailed}, gone...),
		},
		{
			id: "getHistory", method: http.MethodGet, path: at + "/history", tag: tagKV, handle: a.history,
			summary: "See what a key was", description: "As far as the bucket keeps it, deletions included.", params: keyParams(),
			answers: okJSON("What the bucket has kept", entryList{}, nil), fails: append([]core.Code{core.CodeTooLarge}, gone...),
		},
	}
}
