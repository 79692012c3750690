package httpapi

import (
	"net/http"
	"slices"

	"portico/core"
)

// objectOperations are those of objects.
func (a *Adapter) objectOperations() []operation {
	return append(a.objectBucketOperations(), a.itemOperations()...)
}

func (a *Adapter) objectBucketOperations() []operation {
	shown := jsonOf(objectBucketShown{}, nil)
	gone := []core.Code{core.CodeNotFound, core.CodeTimeout}
	return []operation{
		{
			id: "listObjectBuckets", method: http.MethodGet, path: "/v1/objects", tag: tagObjects, handle: a.listObjectBuckets,
			summary: "List object buckets", params: pageParams(), answers: pageAnswer(objectBucketList{}), fails: []core.Code{core.CodeTimeout},
		},
		{
			id: "putObjectBucket", method: http.MethodPut, path: "/v1/objects/{bucket}", tag: tagObjects, handle: a.putObjectBucket,
			summary: "Create an object bucket", description: "One that is there with other properties is not changed: 409.",
			params: append([]param{bucketName()}, configConditions()...), request: jsonOf(objectBucketConfig{}, objectBucketConfig{MaxBytes: 1 << 30}),
			answers: ensured(shown, "It was there with the same properties"), refuses: []int{http.StatusPreconditionFailed},
			fails: append([]core.Code{core.CodePreconditionFailed, core.CodeResourceExhausted, core.CodeUnimplemented}, gone...),
		},
		{
			id: "getObjectBucket", method: http.MethodGet, path: "/v1/objects/{bucket}", tag: tagObjects, handle: a.getObjectBucket,
			summary: "Describe an object bucket", params: []param{bucketName()},
			answers: map[int]answer{http.StatusOK: {description: "The bucket", headers: tagged(), body: shown}}, fails: gone,
		},
		ifUnchanged(operation{
			id: "deleteObjectBucket", method: http.MethodDelete, path: "/v1/objects/{bucket}", tag: tagObjects, handle: a.deleteObjectBucket,
			summary: "Delete an object bucket", description: "With everything in it.", params: []param{bucketName()}, answers: noContent("It is gone"), fails: gone,
		}),
		{
			id: "listObjects", method: http.MethodGet, path: "/v1/objects/{bucket}/items", tag: tagObjects, handle: a.listObjects,
			summary: "List objects", description: "By name.", params: append([]param{bucketName()}, pageParams()...), answers: pageAnswer(objectList{}), fails: gone,
		},
	}
}

// objectHeaders are those of an object that is read.
func objectHeaders() []param {
	return []param{
		inHeader("ETag", "Of this version of the object", "", `"ZmPtBDWgpZHvbhOpYrzwwK"`), inHeader("Last-Modified", "When it was put", "", nil),
		inHeader("Repr-Digest", "Of the whole object (RFC 9530)", "", "sha-256=:47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=:"),
		inHeader("Content-Disposition", "The last part of its name, for those who save it", "", nil), inHeader("Accept-Ranges", "bytes", "", "bytes"),
	}
}

func objectParams() []param {
	return []param{bucketName(), inPath("name", "The object's name; slashes may stand as they are", "2026/july.pdf").within(1, maxObjectName)}
}

func (a *Adapter) itemOperations() []operation {
	const at = "/v1/objects/{bucket}/items/{name...}"
	gone := []core.Code{core.CodeNotFound, core.CodeTimeout}
	conditional := append(objectParams(), ifMatch("Only if it is one of these versions"), ifNoneMatch("Only if it is none of these versions"))
	reading := append(slices.Clone(conditional),
		inHeader("Range", "One range of bytes; several are passed over", "", "bytes=0-99").within(1, 256), inHeader("If-Range", "The range only if this is still the object", "", nil).within(1, 256))
	range206 := append(objectHeaders(), inHeader("Content-Range", "Which part of how much", "", "bytes 0-99/1234"))
	bytes := rawBody("The object")
	unchanged := answer{description: "It is one of those that the client has"}
	put := jsonOf(objectShown{}, nil)
	putHeaders := objectHeaders()[:1]
	return []operation{
		{
			id: "putObject", method: http.MethodPut, path: at, tag: tagObjects, handle: a.putObject,
			summary: "Store an object",
			description: "The body is the object, up to 5 GiB; it goes to the store as it comes, and takes the place of what has this name when all of it is there and fits the digest. " +
				"Content-Type and the headers of messages (`Msg-…`) are kept with it.",
			params: append(objectParams(), inQuery("description", "Free text", "", nil).within(1, maxText),
				inHeader("Content-Type", "Kept with it", "", "application/pdf"), inHeader("Content-Encoding", "Kept with it: the bytes are not touched", "", nil),
				inHeader("Content-Digest", "sha-256 of the body: what does not fit is not stored (RFC 9530)", []string(nil), nil), inHeader("Repr-Digest", "The same", []string(nil), nil),
				inHeader("Content-Range", "Not understood here", "", nil), ifMatch("Not implemented here"), ifNoneMatch("Not implemented here")),
			request: rawBody("The object"),
			answers: map[int]answer{
				http.StatusCreated: {description: "It is on disk", headers: putHeaders, body: put},
				http.StatusOK:      {description: "It is on disk, in place of another", headers: putHeaders, body: put},
			},
			fails: append([]core.Code{core.CodeResourceExhausted, core.CodeUnimplemented, core.CodePreconditionFailed}, gone...),
		},
		{
			id: "getObject", method: http.MethodGet, path: at, tag: tagObjects, handle: a.getObject,
			summary: "Read an object", description: "Or one range of it.", params: reading,
			refuses: []int{http.StatusPreconditionFailed, http.StatusRequestedRangeNotSatisfiable},
			answers: map[int]answer{
				http.StatusOK:             {description: "The object", headers: objectHeaders(), body: bytes},
				http.StatusPartialContent: {description: "The range", headers: range206, body: bytes}, http.StatusNotModified: unchanged,
			},
			fails: append([]core.Code{core.CodeResourceExhausted}, gone...),
		},
		{
			id: "headObject", method: http.MethodHead, path: at, tag: tagObjects, handle: a.headObject,
			summary: "Describe an object", params: conditional, refuses: []int{http.StatusPreconditionFailed}, fails: gone,
			answers: map[int]answer{http.StatusOK: {description: "It is there", headers: objectHeaders()}, http.StatusNotModified: unchanged},
		},
		{
			id: "deleteObject", method: http.MethodDelete, path: at, tag: tagObjects, handle: a.deleteObject,
			summary: "Delete an object", params: append(objectParams(), ifMatch("Not implemented here"), ifNoneMatch("Not implemented here")), answers: noContent("It is gone"),
			fails: append([]core.Code{core.CodeUnimplemented}, gone...),
		},
	}
}
