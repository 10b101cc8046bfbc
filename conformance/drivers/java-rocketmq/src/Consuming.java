import com.google.gson.JsonObject;
import java.text.SimpleDateFormat;
import java.util.Base64;
import java.util.Date;
import java.util.HashMap;
import java.util.Map;
import java.util.concurrent.ConcurrentHashMap;
import org.apache.rocketmq.client.consumer.DefaultMQPushConsumer;
import org.apache.rocketmq.client.consumer.rebalance.AllocateMessageQueueAveragely;
import org.apache.rocketmq.client.consumer.MessageSelector;
import org.apache.rocketmq.client.consumer.listener.ConsumeConcurrentlyStatus;
import org.apache.rocketmq.client.consumer.listener.ConsumeOrderlyStatus;
import org.apache.rocketmq.client.consumer.listener.MessageListenerConcurrently;
import org.apache.rocketmq.client.consumer.listener.MessageListenerOrderly;
import org.apache.rocketmq.common.UtilAll;
import org.apache.rocketmq.common.consumer.ConsumeFromWhere;
import org.apache.rocketmq.common.message.MessageConst;
import org.apache.rocketmq.common.message.MessageExt;

/** Push consumers: every delivery becomes an event line, and is consumed or failed as the command said. */
final class Consuming {
    private static final int THREADS = 4;
    private static final int RETRY_DELAY_LEVEL_1S = 1;
    private static final long ORDERLY_RETRY_MS = 300;

    private final Map<String, DefaultMQPushConsumer> consumers = new ConcurrentHashMap<>();

    Object start(JsonObject command) throws Exception {
        if (command.has("hold") && command.get("hold").getAsBoolean()) {
            throw new Driver.Unsupported("a push consumer settles by what its listener returns");
        }
        String name = command.get("consumer").getAsString();
        int failTimes = command.has("fail_times") ? command.get("fail_times").getAsInt() : 0;
        DefaultMQPushConsumer consumer = new DefaultMQPushConsumer(
            command.get("group").getAsString(), Endpoint.signing(), new AllocateMessageQueueAveragely());
        Endpoint.apply(consumer);
        consumer.setConsumeThreadMin(THREADS);
        consumer.setConsumeThreadMax(THREADS);
        consumer.setSuspendCurrentQueueTimeMillis(ORDERLY_RETRY_MS);
        if (command.has("max_attempts")) {
            consumer.setMaxReconsumeTimes(command.get("max_attempts").getAsInt() - 1);
        }
        startAt(consumer, command.has("from") ? command.get("from").getAsString() : "earliest");
        consumer.subscribe(command.get("topic").getAsString(), selector(command));
        if (command.has("mode") && command.get("mode").getAsString().equals("orderly")) {
            consumer.registerMessageListener((MessageListenerOrderly) (messages, context) -> {
                context.setSuspendCurrentQueueTimeMillis(ORDERLY_RETRY_MS);
                return report(name, messages.get(0), failTimes) ? ConsumeOrderlyStatus.SUCCESS : ConsumeOrderlyStatus.SUSPEND_CURRENT_QUEUE_A_MOMENT;
            });
        } else {
            consumer.registerMessageListener((MessageListenerConcurrently) (messages, context) -> {
                context.setDelayLevelWhenNextConsume(RETRY_DELAY_LEVEL_1S);
                return report(name, messages.get(0), failTimes) ? ConsumeConcurrentlyStatus.CONSUME_SUCCESS : ConsumeConcurrentlyStatus.RECONSUME_LATER;
            });
        }
        if (consumers.putIfAbsent(name, consumer) != null) {
            throw new IllegalStateException("consumer " + name + " exists");
        }
        consumer.start();
        return Map.of();
    }

    Object stop(String name) {
        DefaultMQPushConsumer consumer = consumers.remove(name);
        if (consumer == null) {
            throw new IllegalStateException("no consumer " + name);
        }
        consumer.shutdown();
        return Map.of();
    }

    void close() {
        for (String name : consumers.keySet()) {
            stop(name);
        }
    }

    private static MessageSelector selector(JsonObject command) {
        if (command.has("sql")) {
            return MessageSelector.bySql(command.get("sql").getAsString());
        }
        return MessageSelector.byTag(command.has("tag") ? command.get("tag").getAsString() : "*");
    }

    private static void startAt(DefaultMQPushConsumer consumer, String from) {
        if (from.equals("earliest")) {
            consumer.setConsumeFromWhere(ConsumeFromWhere.CONSUME_FROM_FIRST_OFFSET);
        } else if (from.equals("latest")) {
            consumer.setConsumeFromWhere(ConsumeFromWhere.CONSUME_FROM_LAST_OFFSET);
        } else {
            consumer.setConsumeFromWhere(ConsumeFromWhere.CONSUME_FROM_TIMESTAMP);
            Date time = new Date(Long.parseLong(from.substring("time:".length())));
            consumer.setConsumeTimestamp(new SimpleDateFormat(UtilAll.YYYYMMDDHHMMSS).format(time));
        }
    }

    /** Writes the event; false if this delivery is to be failed. */
    private static boolean report(String consumer, MessageExt message, int failTimes) {
        boolean ok = failTimes >= 0 && message.getReconsumeTimes() >= failTimes;
        Map<String, Object> fields = describe(message);
        fields.put("outcome", ok ? "ack" : "fail");
        Driver.emit(Map.of("event", "message", "consumer", consumer, "message", fields));
        return ok;
    }

    private static Map<String, Object> describe(MessageExt message) {
        Map<String, Object> fields = new HashMap<>();
        Map<String, String> properties = new HashMap<>(message.getProperties());
        properties.keySet().removeAll(MessageConst.STRING_HASH_SET);
        fields.put("message_id", message.getMsgId());
        fields.put("topic", message.getTopic());
        fields.put("queue", message.getQueueId());
        fields.put("offset", message.getQueueOffset());
        fields.put("body", Base64.getEncoder().encodeToString(message.getBody() == null ? new byte[0] : message.getBody()));
        fields.put("properties", properties);
        fields.put("tag", message.getTags());
        fields.put("key", message.getKeys());
        fields.put("attempt", message.getReconsumeTimes() + 1);
        fields.put("redelivered", message.getReconsumeTimes() > 0);
        fields.put("store_time_ms", message.getStoreTimestamp());
        return fields;
    }
}
