package httpapi

import (
	"context"
	"math"
	"net/http"

	"portico/core"

	"github.com/gin-gonic/gin"
)

// bucketConfig is the body of PUT /v1/kv/{bucket}; what is left out has the default.
type bucketConfig struct {
	Description  string `json:"description,omitempty" doc:"Free text"`
	History      uint8  `json:"history,omitempty" doc:"Values kept for each key; 0: 1" minimum:"0" maximum:"64"`
	TTL          millis `json:"ttl,omitempty" doc:"Milliseconds that a value is kept; 0: for ever" minimum:"0" maximum:"315360000000"`
	MaxBytes     int64  `json:"max_bytes,omitempty" doc:"Of everything in it; 0: no limit" minimum:"0"`
	MaxValueSize int32  `json:"max_value_size,omitempty" doc:"Bytes; 0: the gateway's limit" minimum:"0"`
	Storage      string `json:"storage,omitempty" doc:"Where it is kept" enum:"file,memory"`
	Replicas     int    `json:"replicas,omitempty" doc:"Copies in a cluster; 0: 1" minimum:"0" maximum:"5"`
}

func (s *bucketConfig) config(name string) (core.BucketConfig, error) {
	var k checks
	k.text("description", s.Description, maxText)
	k.within("history", int64(s.History), 0, 64)
	k.time("ttl", s.TTL)
	k.within("max_bytes", s.MaxBytes, 0, math.MaxInt64)
	k.within("max_value_size", int64(s.MaxValueSize), 0, math.MaxInt32)
	k.word("storage", s.Storage, "file", "memory")
	k.within("replicas", int64(s.Replicas), 0, 5)
	return core.BucketConfig{
		Name: name, Description: s.Description, History: s.History, TTL: s.TTL.duration(), MaxBytes: s.MaxBytes, MaxValueSize: s.MaxValueSize,
		Storage: s.Storage, Replicas: s.Replicas,
	}, k.err
}

func bucketConfigOf(s core.BucketConfig) bucketConfig {
	return bucketConfig{
		Description: s.Description, History: s.History, TTL: millisOf(s.TTL), MaxBytes: s.MaxBytes, MaxValueSize: s.MaxValueSize,
		Storage: s.Storage, Replicas: s.Replicas,
	}
}

// bucketShown is a bucket as it is told to clients. Its config may be put back as it is.
type bucketShown struct {
	Name   string       `json:"name" example:"settings"`
	Config bucketConfig `json:"config"`
	Values uint64       `json:"values" doc:"How many it holds, history and deletions included"`
	Bytes  uint64       `json:"bytes"`
}

func bucketShownOf(s core.BucketInfo) bucketShown {
	return bucketShown{Name: s.Config.Name, Config: bucketConfigOf(s.Config), Values: s.Values, Bytes: s.Bytes}
}

func bucketTag(s core.BucketInfo) string { return tagOf(bucketConfigOf(s.Config)) }

// bucketList is a page of buckets.
type bucketList struct {
	Buckets []bucketShown `json:"buckets"`
	Next    string        `json:"next,omitempty" doc:"The cursor of the next page, if there is one"`
}

// listBuckets: GET /v1/kv.
func (a *Adapter) listBuckets(c *gin.Context) {
	name := func(s core.BucketInfo) string { return s.Config.Name }
	if page, next, ok := list(a, c, name, bucketShownOf, busOf(c).Buckets); ok {
		c.PureJSON(http.StatusOK, bucketList{page, next})
	}
}

// putBucket: PUT /v1/kv/{bucket}.
func (a *Adapter) putBucket(c *gin.Context) {
	var body bucketConfig
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
	put(a, c, cfg, ensure[core.BucketConfig, core.BucketInfo, bucketShown]{
		create: bus.CreateBucket, update: bus.UpdateBucket, tag: bucketTag, show: bucketShownOf,
		find: func(ctx context.Context) (core.BucketInfo, error) { return bus.Bucket(ctx, cfg.Name) },
	})
}

// getBucket: GET /v1/kv/{bucket}.
func (a *Adapter) getBucket(c *gin.Context) {
	info, err := busOf(c).Bucket(c.Request.Context(), c.Param("bucket"))
	showOne(a, c, info, err, bucketTag, bucketShownOf)
}

// deleteBucket: DELETE /v1/kv/{bucket}.
func (a *Adapter) deleteBucket(c *gin.Context) {
	bus, name := busOf(c), c.Param("bucket")
	drop(a, c, func(ctx context.Context) (core.BucketInfo, error) { return bus.Bucket(ctx, name) }, bucketTag,
		func(ctx context.Context) error { return bus.DeleteBucket(ctx, name) })
}

// keyList is a page of keys.
type keyList struct {
	Keys []string `json:"keys"`
	Next string   `json:"next,omitempty" doc:"The cursor of the next page, if there is one"`
}

// listKeys: GET /v1/kv/{bucket}/keys.
func (a *Adapter) listKeys(c *gin.Context) {
	itself := func(key string) string { return key }
	page, next, ok := list(a, c, itself, itself, func(ctx context.Context, after string, limit int) ([]string, error) {
		return busOf(c).Keys(ctx, c.Param("bucket"), pattern(c), after, limit)
	})
	if ok {
		c.PureJSON(http.StatusOK, keyList{page, next})
	}
}

// pattern is which keys are meant; absent is all.
func pattern(c *gin.Context) string {
	if p := c.Query("pattern"); p != "" {
		return p
	}
	return ">"
}
