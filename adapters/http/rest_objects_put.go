package httpapi

import (
	"errors"
	"io"
	"net/http"
	"os"
	"time"

	"portico/core"

	"github.com/gin-gonic/gin"
)

const (
	maxObject    = 5 << 30  // bytes of an object
	maxTransfers = 256      // objects on their way at once; each has a few chunks in memory. When full, 507
	objectPace   = 16 << 10 // bytes a second that a body must come with, after bodyPatience
)

// putObject: PUT /v1/objects/{bucket}/items/{name...}. The body goes to the store as it comes, and is never whole in memory.
func (a *Adapter) putObject(c *gin.Context) {
	meta, digest, err := objectMeta(c)
	switch {
	case err != nil:
	case c.Request.ContentLength > maxObject:
		err = tooLarge(maxObject)
	case !a.rest.transfers.TryAcquire(1):
		err = core.Errorf(core.CodeResourceExhausted, "%d objects are on their way: try again", maxTransfers)
	}
	if err != nil {
		a.fail(c, err)
		return
	}
	defer a.rest.transfers.Release(1)
	info, existed, err := a.upload(c, meta, digest)
	// The upload may have taken longer than an answer may take from the request's beginning.
	if late := http.NewResponseController(c.Writer).SetWriteDeadline(time.Now().Add(a.writeTimeout)); err == nil && late != nil && !errors.Is(late, http.ErrNotSupported) {
		err = core.AsError(late)
	}
	if err != nil {
		a.fail(c, err)
		return
	}
	c.Header("ETag", quoted(info.ID))
	c.Header("Repr-Digest", digestOf(info.SHA256))
	status := http.StatusCreated
	if existed {
		status = http.StatusOK
	}
	c.PureJSON(status, objectShownOf(info))
}

// objectMeta reads what a request says of an object.
func objectMeta(c *gin.Context) (meta core.ObjectMeta, digest []byte, err error) {
	if meta.Name, err = objectName(c); err != nil {
		return meta, nil, err
	}
	if err = unconditional(c); err != nil {
		return meta, nil, err
	}
	if c.GetHeader("Content-Range") != "" {
		return meta, nil, badField("header.Content-Range", "none: an object is put as a whole", c.GetHeader("Content-Range"))
	}
	if meta.Header, err = messageHeader(c.Request.Header); err != nil {
		return meta, nil, err
	}
	meta.Description = c.Query("description")
	digest, err = digestIn(c.Request.Header)
	return meta, digest, err
}

func (a *Adapter) upload(c *gin.Context, meta core.ObjectMeta, digest []byte) (info core.ObjectInfo, existed bool, err error) {
	bus, bucket, ctx := busOf(c), c.Param("bucket"), c.Request.Context()
	_, err = bus.ObjectInfo(ctx, bucket, meta.Name)
	existed = err == nil // who may only write is not told: 201
	if err != nil && core.AsError(err).Code != core.CodeNotFound && core.AsError(err).Code != core.CodePermissionDenied {
		return info, false, err
	}
	body := &slowBody{from: c.Request.Body, rc: http.NewResponseController(c.Writer), limit: maxObject, patience: a.patience}
	info, err = bus.PutObject(ctx, bucket, meta, body, digest)
	if err == nil {
		err = body.settle()
	}
	if err != nil && digest != nil && core.AsError(err).Code == core.CodePreconditionFailed {
		err = badField("header.Content-Digest", "the digest of the body", digestOf(digest))
	}
	a.metrics.In.Inc()
	a.metrics.BytesIn.Add(float64(body.got))
	return info, existed, err
}

// slowBody reads a body of any size. The sender may take patience, plus the time that objectPace allows for what it has sent, and may pause no longer than patience; what we take to store it does not count.
type slowBody struct {
	from     io.Reader
	rc       *http.ResponseController
	limit    int64
	patience time.Duration
	got      int64
	waited   time.Duration
}

// Read implements io.Reader.
func (b *slowBody) Read(p []byte) (int, error) {
	start := time.Now()
	left := b.patience + time.Duration(b.got/objectPace)*time.Second - b.waited
	if err := b.deadline(start.Add(min(left, b.patience))); err != nil {
		return 0, err
	}
	n, err := b.from.Read(p)
	b.waited += time.Since(start)
	b.got += int64(n)
	switch {
	case b.got > b.limit:
		return 0, tooLarge(b.limit)
	case err != nil && !errors.Is(err, io.EOF):
		return n, unreadable(err)
	}
	return n, err
}

// settle takes the deadline away: from here on net/http waits for the next request, or for the client to go.
func (b *slowBody) settle() error { return b.deadline(time.Time{}) }

func (b *slowBody) deadline(t time.Time) error {
	if err := b.rc.SetReadDeadline(t); err != nil && !errors.Is(err, http.ErrNotSupported) && !errors.Is(err, os.ErrClosed) {
		return core.AsError(err)
	}
	return nil
}
