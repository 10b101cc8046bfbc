import com.google.gson.JsonObject;
import java.util.Map;
import java.util.concurrent.atomic.AtomicLong;
import org.springframework.context.ConfigurableApplicationContext;

/** Reads a whole topic by a listener; positions are not to be had from Spring. */
final class Reading {
    private static final int STEP_MS = 20;

    Object offsets(JsonObject command) {
        throw new Driver.Unsupported("the template has no such call");
    }

    Object seekTime(JsonObject command) {
        throw new Driver.Unsupported("the template has no such call");
    }

    Object find(JsonObject command) {
        throw new Driver.Unsupported("the template has no such call");
    }

    Object drain(JsonObject command) throws Exception {
        AtomicLong count = new AtomicLong();
        AtomicLong last = new AtomicLong(System.currentTimeMillis());
        Listening.Wanted wanted = new Listening.Wanted(command.get("topic").getAsString(), command.get("group").getAsString());
        try (Journal journal = new Journal(command.get("journal").getAsString())) {
            wanted.onMessage = message -> {
                last.set(System.currentTimeMillis());
                count.incrementAndGet();
                journal.line("R " + message.getQueueId() + " " + message.getQueueOffset() + " " + Journal.id(message.getBody()) + " "
                    + Journal.crc(message.getBody()) + " " + (message.getReconsumeTimes() + 1) + " " + last.get());
                return true;
            };
            try (ConfigurableApplicationContext listener = Listening.start(wanted)) {
                while (System.currentTimeMillis() - last.get() < command.get("idle_ms").getAsLong()) {
                    Thread.sleep(STEP_MS);
                }
            }
        }
        return Map.of("count", count.get());
    }
}
