import com.google.gson.JsonObject;
import java.util.Base64;
import java.util.HashMap;
import java.util.Map;
import java.util.concurrent.ConcurrentHashMap;
import org.apache.rocketmq.common.message.MessageConst;
import org.apache.rocketmq.common.message.MessageExt;
import org.springframework.context.ConfigurableApplicationContext;

/** Listeners by name: every delivery becomes an event line, and is consumed or failed as the command said. */
final class Consuming {
    private final Map<String, ConfigurableApplicationContext> consumers = new ConcurrentHashMap<>();

    Object start(JsonObject command) {
        if (command.has("hold") && command.get("hold").getAsBoolean()) {
            throw new Driver.Unsupported("a listener settles by how it returns");
        }
        String name = command.get("consumer").getAsString();
        if (consumers.containsKey(name)) {
            throw new IllegalStateException("consumer " + name + " exists");
        }
        int failTimes = command.has("fail_times") ? command.get("fail_times").getAsInt() : 0;
        Listening.Wanted wanted = new Listening.Wanted(command.get("topic").getAsString(), command.get("group").getAsString());
        wanted.tag = command.has("tag") ? command.get("tag").getAsString() : "*";
        wanted.from = command.has("from") ? command.get("from").getAsString() : "earliest";
        wanted.orderly = command.has("mode") && command.get("mode").getAsString().equals("orderly");
        wanted.maxAttempts = command.has("max_attempts") ? command.get("max_attempts").getAsInt() : null;
        wanted.onMessage = message -> report(name, message, failTimes);
        consumers.put(name, Listening.start(wanted));
        return Map.of();
    }

    Object stop(String name) {
        ConfigurableApplicationContext consumer = consumers.remove(name);
        if (consumer == null) {
            throw new IllegalStateException("no consumer " + name);
        }
        consumer.close();
        return Map.of();
    }

    void close() {
        for (String name : consumers.keySet()) {
            stop(name);
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
