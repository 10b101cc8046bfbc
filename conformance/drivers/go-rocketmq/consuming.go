package main

import (
	"context"
	"encoding/base64"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	rocketmq "github.com/apache/rocketmq-client-go/v2"
	"github.com/apache/rocketmq-client-go/v2/consumer"
	"github.com/apache/rocketmq-client-go/v2/primitive"
)

const (
	retryDelayLevel1s = 1
	orderlyRetry      = 300 * time.Millisecond
	consumeGoroutines = 4
	timestampLayout   = "20060102150405"
)

// systemProperties are written by the SDK or the broker; what is left are the user's own.
var systemProperties = map[string]bool{}

func init() {
	for _, name := range strings.Fields(`KEYS TAGS WAIT DELAY RETRY_TOPIC REAL_TOPIC REAL_QID TRAN_MSG PGROUP MIN_OFFSET MAX_OFFSET
		ORIGIN_MESSAGE_ID RECONSUME_TIME MAX_RECONSUME_TIMES MSG_REGION TRACE_ON UNIQ_KEY CLUSTER MSG_TYPE POP_CK 1ST_POP_TIME
		INSTANCE_ID CORRELATION_ID REPLY_TO_CLIENT TTL __SHARDINGKEY SHARDING_KEY CONSUME_START_TIME DLQ_ORIGIN_TOPIC
		DLQ_ORIGIN_MESSAGE_ID`) {
		systemProperties[name] = true
	}
}

type pushConsumer struct{ sdk rocketmq.PushConsumer }

func (d *driver) consume(c *command) (any, error) {
	if c.Hold {
		return nil, unsupported{reasonPushSettle}
	}
	if d.consumers[c.Consumer] != nil {
		return nil, fmt.Errorf("consumer %s exists", c.Consumer)
	}
	options := []consumer.Option{
		consumer.WithNsResolver(primitive.NewPassthroughResolver([]string{d.address})),
		consumer.WithCredentials(d.credentials),
		consumer.WithGroupName(c.Group),
		consumer.WithInstance(instanceName()),
		consumer.WithConsumerOrder(c.Mode == "orderly"),
		consumer.WithSuspendCurrentQueueTimeMillis(orderlyRetry),
		consumer.WithConsumeGoroutineNums(consumeGoroutines),
	}
	if c.MaxAttempts > 0 {
		options = append(options, consumer.WithMaxReconsumeTimes(c.MaxAttempts-1))
	}
	start, err := startAt(c.From)
	if err != nil {
		return nil, err
	}
	sdk, err := rocketmq.NewPushConsumer(append(options, start...)...)
	if err != nil {
		return nil, err
	}
	tag := c.Tag
	if tag == "" {
		tag = "*"
	}
	selector := consumer.MessageSelector{Type: consumer.TAG, Expression: tag}
	if c.SQL != "" {
		selector = consumer.MessageSelector{Type: consumer.SQL92, Expression: c.SQL}
	}
	err = sdk.Subscribe(c.Topic, selector, func(ctx context.Context, messages ...*primitive.MessageExt) (consumer.ConsumeResult, error) {
		if concurrent, ok := primitive.GetConcurrentlyCtx(ctx); ok {
			concurrent.DelayLevelWhenNextConsume = retryDelayLevel1s
		}
		result := consumer.ConsumeSuccess
		for _, message := range messages {
			if !report(c, message) {
				result = consumer.ConsumeRetryLater
				if c.Mode == "orderly" {
					result = consumer.SuspendCurrentQueueAMoment
				}
			}
		}
		return result, nil
	})
	if err == nil {
		err = sdk.Start()
	}
	if err != nil {
		return nil, err
	}
	d.consumers[c.Consumer] = &pushConsumer{sdk}
	return object{}, nil
}

func startAt(from string) ([]consumer.Option, error) {
	switch {
	case from == "" || from == "earliest":
		return []consumer.Option{consumer.WithConsumeFromWhere(consumer.ConsumeFromFirstOffset)}, nil
	case from == "latest":
		return []consumer.Option{consumer.WithConsumeFromWhere(consumer.ConsumeFromLastOffset)}, nil
	case strings.HasPrefix(from, "time:"):
		ms, err := strconv.ParseInt(strings.TrimPrefix(from, "time:"), 10, 64)
		if err != nil {
			return nil, err
		}
		stamp := time.UnixMilli(ms).Format(timestampLayout)
		return []consumer.Option{consumer.WithConsumeFromWhere(consumer.ConsumeFromTimestamp), consumer.WithConsumeTimestamp(stamp)}, nil
	}
	return nil, unsupported{"cannot start at " + from}
}

// report writes the event; false if this delivery is to be failed.
func report(c *command, message *primitive.MessageExt) bool {
	ok := c.FailTimes >= 0 && int(message.ReconsumeTimes) >= c.FailTimes
	fields := describe(message)
	fields["outcome"] = "ack"
	if !ok {
		fields["outcome"] = "fail"
	}
	emit(object{"event": "message", "consumer": c.Consumer, "message": fields})
	return ok
}

func describe(message *primitive.MessageExt) object {
	properties := map[string]string{}
	for key, value := range message.GetProperties() {
		if !systemProperties[key] {
			properties[key] = value
		}
	}
	return object{
		"message_id": message.MsgId, "topic": message.Topic, "queue": message.Queue.QueueId, "offset": message.QueueOffset,
		"body": base64.StdEncoding.EncodeToString(message.Body), "properties": properties, "tag": message.GetTags(),
		"key": message.GetKeys(), "attempt": message.ReconsumeTimes + 1, "redelivered": message.ReconsumeTimes > 0,
		"store_time_ms": message.StoreTimestamp,
	}
}

// drain reads a whole topic as a new group; it ends when nothing came for idle_ms.
func (d *driver) drain(c *command) (any, error) {
	journal, err := newJournal(c.Journal)
	if err != nil {
		return nil, err
	}
	defer journal.close()
	var count, last atomic.Int64
	last.Store(nowMs())
	sdk, err := rocketmq.NewPushConsumer(
		consumer.WithNsResolver(primitive.NewPassthroughResolver([]string{d.address})),
		consumer.WithGroupName(c.Group),
		consumer.WithInstance(instanceName()),
		consumer.WithConsumeFromWhere(consumer.ConsumeFromFirstOffset),
	)
	if err != nil {
		return nil, err
	}
	selector := consumer.MessageSelector{Type: consumer.TAG, Expression: "*"}
	err = sdk.Subscribe(c.Topic, selector, func(_ context.Context, messages ...*primitive.MessageExt) (consumer.ConsumeResult, error) {
		for _, m := range messages {
			journal.line("R %d %d %s %s %d %d", m.Queue.QueueId, m.QueueOffset, idOf(m.Body), crcOf(m.Body), m.ReconsumeTimes+1, nowMs())
			count.Add(1)
			last.Store(nowMs())
		}
		return consumer.ConsumeSuccess, nil
	})
	if err == nil {
		err = sdk.Start()
	}
	if err != nil {
		return nil, err
	}
	for nowMs()-last.Load() < c.IdleMs {
		time.Sleep(20 * time.Millisecond)
	}
	return object{"count": count.Load()}, sdk.Shutdown()
}

var stopping sync.Mutex

func (d *driver) stopConsumer(name string) (any, error) {
	stopping.Lock()
	defer stopping.Unlock()
	consumer := d.consumers[name]
	if consumer == nil {
		return nil, fmt.Errorf("no consumer %s", name)
	}
	delete(d.consumers, name)
	return object{}, consumer.sdk.Shutdown()
}
