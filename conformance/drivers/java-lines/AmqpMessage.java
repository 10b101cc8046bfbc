import com.google.gson.JsonArray;
import com.google.gson.JsonElement;
import com.google.gson.JsonObject;
import java.util.ArrayList;
import java.util.Base64;
import java.util.HashMap;
import java.util.List;
import java.util.Map;

/** How a command's message becomes headers, and how a delivery is told and judged. Knows no client. */
final class AmqpMessage {
    static final long BACKOFF_MS = 200; // an AMQP requeue comes back at once
    private static final String TAG_HEADER = "x-tag";
    private static final String KEYS_HEADER = "x-keys";
    private static final String ATTEMPT_HEADER = "x-delivery-count";

    final byte[] body;
    /** Goes out as the message id; null if there is none. */
    final String key;
    final Map<String, Object> headers = new HashMap<>();

    private AmqpMessage(JsonObject wanted) {
        body = Base64.getDecoder().decode(wanted.get("body").getAsString());
        key = wanted.has("key") ? wanted.get("key").getAsString() : null;
        if (wanted.has("properties")) {
            wanted.getAsJsonObject("properties").entrySet().forEach(entry -> headers.put(entry.getKey(), entry.getValue().getAsString()));
        }
        if (wanted.has("tag")) {
            headers.put(TAG_HEADER, wanted.get("tag").getAsString());
        }
    }

    static List<AmqpMessage> of(JsonArray messages) {
        List<AmqpMessage> made = new ArrayList<>();
        for (JsonElement one : messages) {
            JsonObject wanted = one.getAsJsonObject();
            if (wanted.has("queue") && wanted.get("queue").getAsInt() != 0) {
                throw new Lines.Unsupported("an AMQP queue is one sequence");
            }
            made.add(new AmqpMessage(wanted));
        }
        return made;
    }

    static void checkTopic(JsonObject command) {
        if (command.get("queues").getAsInt() != 1) {
            throw new Lines.Unsupported("an AMQP queue is one sequence; several queues are another protocol's");
        }
    }

    static void checkConsume(JsonObject command) {
        if (command.has("from") && !command.get("from").getAsString().equals("earliest")) {
            throw new Lines.Unsupported("an AMQP queue has no offsets");
        }
        if (command.has("tag") && !command.get("tag").getAsString().equals("*")) {
            throw new Lines.Unsupported("an AMQP consumer has no filter; bindings have");
        }
    }

    static Object noOffsets(JsonObject command) {
        throw new Lines.Unsupported("an AMQP queue has no offsets");
    }

    /** Decides about the deliveries of one consumer by its command, and tells each as an event. */
    static final class Judge {
        private final String consumer;
        private final int failTimes;
        private final boolean hold;
        private final Map<String, Integer> seen = new HashMap<>();

        Judge(JsonObject command) {
            consumer = command.get("consumer").getAsString();
            failTimes = command.has("fail_times") ? command.get("fail_times").getAsInt() : 0;
            hold = command.has("hold") && command.get("hold").getAsBoolean();
        }

        /** Gives the outcome: `ack`, `fail` or `held`. */
        synchronized String arrived(byte[] body, Map<String, Object> headers, String messageId, String topic, boolean redelivered, long receipt) {
            String text = Base64.getEncoder().encodeToString(body);
            int times = seen.merge(messageId + " " + text, 1, Integer::sum);
            String outcome = hold ? "held" : failTimes >= 0 && times > failTimes ? "ack" : "fail";
            Map<String, Object> message = new HashMap<>();
            Map<String, Object> properties = new HashMap<>();
            message.put("key", messageId);
            // The text of a client's long string is what counts, not the class that it uses for one.
            (headers == null ? Map.<String, Object>of() : headers).forEach((name, value) -> {
                switch (name) {
                    case TAG_HEADER -> message.put("tag", String.valueOf(value));
                    case KEYS_HEADER -> message.put("key", String.valueOf(value));
                    case ATTEMPT_HEADER -> message.put("attempt", ((Number) value).longValue() + 1);
                    default -> properties.put(name, String.valueOf(value));
                }
            });
            message.putAll(Map.of("topic", topic, "body", text, "properties", properties, "redelivered", redelivered, "outcome", outcome,
                "receipt", String.valueOf(receipt)));
            message.put("message_id", messageId);
            Lines.emit(Map.of("event", "message", "consumer", consumer, "message", message));
            return outcome;
        }
    }
}
