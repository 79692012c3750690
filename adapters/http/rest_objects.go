package httpapi

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"math"
	"net/http"
	"strings"
	"time"

	"portico/core"

	"github.com/gin-gonic/gin"
)

// objectBucketConfig is the body of PUT /v1/objects/{bucket}; what is left out has the default.
type objectBucketConfig struct {
	Description string `json:"description,omitempty" doc:"Free text"`
	TTL         millis `json:"ttl,omitempty" doc:"Milliseconds that an object is kept; 0: for ever" minimum:"0" maximum:"315360000000"`
	MaxBytes    int64  `json:"max_bytes,omitempty" doc:"Of everything in it; 0: no limit" minimum:"0"`
	Storage     string `json:"storage,omitempty" doc:"Where it is kept" enum:"file,memory"`
	Replicas    int    `json:"replicas,omitempty" doc:"Copies in a cluster; 0: 1" minimum:"0" maximum:"5"`
}

func (s *objectBucketConfig) config(name string) (core.ObjectBucketConfig, error) {
	var k checks
	k.text("description", s.Description, maxText)
	k.time("ttl", s.TTL)
	k.within("max_bytes", s.MaxBytes, 0, math.MaxInt64)
	k.word("storage", s.Storage, "file", "memory")
	k.within("replicas", int64(s.Replicas), 0, 5)
	return core.ObjectBucketConfig{
		Name: name, Description: s.Description, TTL: s.TTL.duration(), MaxBytes: s.MaxBytes, Storage: s.Storage, Replicas: s.Replicas,
	}, k.err
}

func objectBucketConfigOf(s core.ObjectBucketConfig) objectBucketConfig {
	return objectBucketConfig{Description: s.Description, TTL: millisOf(s.TTL), MaxBytes: s.MaxBytes, Storage: s.Storage, Replicas: s.Replicas}
}

// objectBucketShown is an object bucket as it is told to clients.
type objectBucketShown struct {
	Name   string             `json:"name" example:"reports"`
	Config objectBucketConfig `json:"config"`
	Bytes  uint64             `json:"bytes"`
}

func objectBucketShownOf(s core.ObjectBucketInfo) objectBucketShown {
	return objectBucketShown{Name: s.Config.Name, Config: objectBucketConfigOf(s.Config), Bytes: s.Bytes}
}

func objectBucketTag(s core.ObjectBucketInfo) string { return tagOf(objectBucketConfigOf(s.Config)) }

// objectBucketList is a page of object buckets.
type objectBucketList struct {
	Buckets []objectBucketShown `json:"buckets"`
	Next    string              `json:"next,omitempty" doc:"The cursor of the next page, if there is one"`
}

// listObjectBuckets: GET /v1/objects.
func (a *Adapter) listObjectBuckets(c *gin.Context) {
	name := func(s core.ObjectBucketInfo) string { return s.Config.Name }
	if page, next, ok := list(a, c, name, objectBucketShownOf, busOf(c).ObjectBuckets); ok {
		c.PureJSON(http.StatusOK, objectBucketList{page, next})
	}
}

// putObjectBucket: PUT /v1/objects/{bucket}. What is there with other properties is 409: they cannot be changed.
func (a *Adapter) putObjectBucket(c *gin.Context) {
	var body objectBucketConfig
	if err := a.readJSON(c, &body); err != nil {
		a.fail(c, err)
		return
	}
	cfg, err := body.config(c.Param("bucket"))
	if err != nil {
		a.fail(c, err)
		return
	}
	bus := busOf(c)
	put(a, c, cfg, ensure[core.ObjectBucketConfig, core.ObjectBucketInfo, objectBucketShown]{
		create: bus.CreateObjectBucket, tag: objectBucketTag, show: objectBucketShownOf,
		find: func(ctx context.Context) (core.ObjectBucketInfo, error) { return bus.ObjectBucket(ctx, cfg.Name) },
	})
}

// getObjectBucket: GET /v1/objects/{bucket}.
func (a *Adapter) getObjectBucket(c *gin.Context) {
	info, err := busOf(c).ObjectBucket(c.Request.Context(), c.Param("bucket"))
	showOne(a, c, info, err, objectBucketTag, objectBucketShownOf)
}

// deleteObjectBucket: DELETE /v1/objects/{bucket}.
func (a *Adapter) deleteObjectBucket(c *gin.Context) {
	bus, name := busOf(c), c.Param("bucket")
	drop(a, c, func(ctx context.Context) (core.ObjectBucketInfo, error) { return bus.ObjectBucket(ctx, name) }, objectBucketTag,
		func(ctx context.Context) error { return bus.DeleteObjectBucket(ctx, name) })
}

// objectShown is an object without its bytes.
type objectShown struct {
	Name        string         `json:"name" example:"2026/july.pdf"`
	Description string         `json:"description,omitempty"`
	Size        int64          `json:"size" doc:"Bytes"`
	Modified    time.Time      `json:"modified"`
	Digest      string         `json:"digest,omitempty" doc:"As Repr-Digest has it" example:"sha-256=:47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=:"`
	ETag        string         `json:"etag" doc:"Of this version"`
	Headers     map[string]any `json:"headers,omitempty" doc:"What came with it: a value each, or a list where there are several"`
}

func objectShownOf(o core.ObjectInfo) objectShown {
	return objectShown{
		Name: o.Name, Description: o.Description, Size: o.Size, Modified: o.Modified, Digest: digestOf(o.SHA256), ETag: quoted(o.ID), Headers: shown(o.Header),
	}
}

// objectList is a page of objects.
type objectList struct {
	Objects []objectShown `json:"objects"`
	Next    string        `json:"next,omitempty" doc:"The cursor of the next page, if there is one"`
}

// listObjects: GET /v1/objects/{bucket}/items.
func (a *Adapter) listObjects(c *gin.Context) {
	name := func(o core.ObjectInfo) string { return o.Name }
	page, next, ok := list(a, c, name, objectShownOf, func(ctx context.Context, after string, limit int) ([]core.ObjectInfo, error) {
		return busOf(c).Objects(ctx, c.Param("bucket"), after, limit)
	})
	if ok {
		c.PureJSON(http.StatusOK, objectList{page, next})
	}
}

// objectName is the rest of the path.
func objectName(c *gin.Context) (string, error) {
	name := strings.TrimPrefix(c.Param("name"), "/")
	if name == "" || len(name) > maxObjectName {
		return "", badField("path.name", "1 to 1024 bytes", name)
	}
	return name, nil
}

const maxObjectName = 1024 // bytes, as core has it

// digestOf is a SHA-256 as Repr-Digest has it [RFC 9530], "" if there is none.
func digestOf(sum []byte) string {
	if len(sum) == 0 {
		return ""
	}
	return "sha-256=:" + base64.StdEncoding.EncodeToString(sum) + ":"
}

// digestIn reads the SHA-256 that the body must have from Content-Digest and Repr-Digest, which are the same where the body is all of it. Other algorithms are passed over [RFC 9530 2].
func digestIn(h http.Header) (sum []byte, err error) {
	for _, name := range []string{"Content-Digest", "Repr-Digest"} {
		for _, value := range h.Values(name) {
			for member := range strings.SplitSeq(value, ",") {
				algorithm, text, _ := strings.Cut(strings.Trim(member, " \t"), "=")
				if algorithm != "sha-256" {
					continue
				}
				found, bad := decodeDigest(text)
				if bad || sum != nil && string(sum) != string(found) {
					return nil, badField("header."+name, "sha-256=:…: with 32 bytes in base64, the same everywhere", value)
				}
				sum = found
			}
		}
	}
	return sum, nil
}

func decodeDigest(text string) (sum []byte, bad bool) {
	inner, opened := strings.CutPrefix(text, ":")
	inner, closed := strings.CutSuffix(inner, ":")
	sum, err := base64.StdEncoding.DecodeString(inner)
	return sum, !opened || !closed || err != nil || len(sum) != sha256.Size
}

// deleteObject: DELETE /v1/objects/{bucket}/items/{name...}.
func (a *Adapter) deleteObject(c *gin.Context) {
	name, err := objectName(c)
	if err == nil {
		err = unconditional(c)
	}
	if err == nil {
		err = busOf(c).DeleteObject(c.Request.Context(), c.Param("bucket"), name)
	}
	a.done(c, err)
}

// unconditional refuses conditions where nothing could hold them: to pass them over would be worse.
func unconditional(c *gin.Context) error {
	if w, err := conditionsOf(c); err != nil || !w.given() {
		return err
	}
	return core.Errorf(core.CodeUnimplemented, "objects are replaced and deleted without conditions: If-Match and If-None-Match are for reading them")
}
