package grpcapi

import (
	"context"
	"time"

	"portico/core"
	porticov1 "portico/proto/portico/v1"
)

func keyOperation(word string) porticov1.KeyOperation {
	switch word {
	case "delete":
		return porticov1.KeyOperation_KEY_OPERATION_DELETE
	case "purge":
		return porticov1.KeyOperation_KEY_OPERATION_PURGE
	}
	return porticov1.KeyOperation_KEY_OPERATION_PUT
}

func keyValue(e *core.KVEntry) *porticov1.KeyValue {
	return &porticov1.KeyValue{Key: text(e.Key), Value: e.Value, Revision: e.Revision, Created: timestamp(e.Created), Operation: keyOperation(e.Operation)}
}

// keyError names the field that an error of a call on a key is about.
func keyError(ctx context.Context, err error, bucket string) error {
	if err == nil {
		return nil
	}
	switch core.AsError(err).Code {
	case core.CodePreconditionFailed:
		return inField(err, "revision")
	case core.CodeTooLarge:
		return inField(err, "value")
	}
	if _, missing := busOf(ctx).Bucket(ctx, bucket); missing != nil {
		return inField(err, "bucket")
	}
	return inField(err, "key")
}

// GetValue implements KeyValueService.
func (s *kvService) GetValue(ctx context.Context, req *porticov1.GetValueRequest) (*porticov1.GetValueResponse, error) {
	e, err := busOf(ctx).Get(ctx, req.GetBucket(), req.GetKey(), req.GetRevision())
	if err != nil {
		return nil, keyError(ctx, err, req.GetBucket())
	}
	s.sent(e.Value)
	return &porticov1.GetValueResponse{Entry: keyValue(&e)}, nil
}

// putting is a request to set a value.
type putting interface {
	GetBucket() string
	GetKey() string
	GetValue() []byte
}

func (s *kvService) put(ctx context.Context, req putting, when core.PutCondition) (uint64, error) {
	s.received(&core.Message{Data: req.GetValue()})
	begun := time.Now()
	revision, err := busOf(ctx).Put(ctx, req.GetBucket(), req.GetKey(), req.GetValue(), when)
	if err != nil {
		return 0, keyError(ctx, err, req.GetBucket())
	}
	s.metrics.PublishSeconds.Observe(time.Since(begun).Seconds())
	return revision, nil
}

// PutValue implements KeyValueService.
func (s *kvService) PutValue(ctx context.Context, req *porticov1.PutValueRequest) (*porticov1.PutValueResponse, error) {
	revision, err := s.put(ctx, req, core.PutCondition{})
	if err != nil {
		return nil, err
	}
	return &porticov1.PutValueResponse{Revision: revision}, nil
}

// CreateValue implements KeyValueService.
func (s *kvService) CreateValue(ctx context.Context, req *porticov1.CreateValueRequest) (*porticov1.CreateValueResponse, error) {
	revision, err := s.put(ctx, req, core.PutCondition{Absent: true})
	if err != nil {
		return nil, err
	}
	return &porticov1.CreateValueResponse{Revision: revision}, nil
}

// UpdateValue implements KeyValueService.
func (s *kvService) UpdateValue(ctx context.Context, req *porticov1.UpdateValueRequest) (*porticov1.UpdateValueResponse, error) {
	if req.GetRevision() == 0 {
		return nil, badField("revision", "it is required")
	}
	revision, err := s.put(ctx, req, core.PutCondition{Revision: req.GetRevision()})
	if err != nil {
		return nil, err
	}
	return &porticov1.UpdateValueResponse{Revision: revision}, nil
}

// DeleteValue implements KeyValueService.
func (s *kvService) DeleteValue(ctx context.Context, req *porticov1.DeleteValueRequest) (*porticov1.DeleteValueResponse, error) {
	err := busOf(ctx).DeleteKey(ctx, req.GetBucket(), req.GetKey(), false, core.PutCondition{Revision: req.GetRevision()})
	if err != nil {
		return nil, keyError(ctx, err, req.GetBucket())
	}
	return &porticov1.DeleteValueResponse{}, nil
}

// PurgeValue implements KeyValueService.
func (s *kvService) PurgeValue(ctx context.Context, req *porticov1.PurgeValueRequest) (*porticov1.PurgeValueResponse, error) {
	err := busOf(ctx).DeleteKey(ctx, req.GetBucket(), req.GetKey(), true, core.PutCondition{Revision: req.GetRevision()})
	if err != nil {
		return nil, keyError(ctx, err, req.GetBucket())
	}
	return &porticov1.PurgeValueResponse{}, nil
}

// GetHistory implements KeyValueService.
func (s *kvService) GetHistory(ctx context.Context, req *porticov1.GetHistoryRequest) (*porticov1.GetHistoryResponse, error) {
	history, err := busOf(ctx).History(ctx, req.GetBucket(), req.GetKey())
	if err != nil {
		return nil, keyError(ctx, err, req.GetBucket())
	}
	resp := &porticov1.GetHistoryResponse{}
	for i := range history {
		s.sent(history[i].Value)
		resp.Entries = append(resp.Entries, keyValue(&history[i]))
	}
	return resp, nil
}
