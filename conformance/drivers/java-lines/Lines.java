import com.google.gson.Gson;
import com.google.gson.JsonObject;
import java.io.BufferedReader;
import java.io.InputStreamReader;
import java.io.PrintStream;
import java.nio.charset.StandardCharsets;
import java.util.Map;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.Future;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.TimeoutException;

/** Reads commands and writes answers for the drivers of AMQP clients in Java; ../README.md says what the lines are. Knows no client. */
final class Lines {
    /** A command that this SDK cannot carry out, with the reason that goes into the table of results. */
    static final class Unsupported extends RuntimeException {
        private static final long serialVersionUID = 1;

        Unsupported(String reason) {
            super(reason);
        }
    }

    /** Carries out the commands of one name; what it returns is the answer's `ok`. */
    interface Command {
        Object run(JsonObject fields) throws Exception;
    }

    private static final Gson GSON = new Gson();
    private static final PrintStream OUT = System.out;
    private static final long LIMIT_MS_DEFAULT = 30_000;

    private Lines() { }

    static void emit(Object line) {
        String text = GSON.toJson(line);
        synchronized (OUT) {
            OUT.println(text);
            OUT.flush();
        }
    }

    /** Answers each command by the function of its name until standard input ends, then resets and ends the process. */
    static void serve(Map<String, Command> commands) throws Exception {
        // The SDK's logger and stray prints must not mix with the answers.
        System.setOut(System.err);
        ExecutorService worker = Executors.newCachedThreadPool(work -> {
            Thread thread = new Thread(work, "command");
            thread.setDaemon(true);
            return thread;
        });
        BufferedReader input = new BufferedReader(new InputStreamReader(System.in, StandardCharsets.UTF_8));
        for (String line; (line = input.readLine()) != null; ) {
            JsonObject command = GSON.fromJson(line, JsonObject.class);
            long limit = command.has("limit_ms") ? command.get("limit_ms").getAsLong() : LIMIT_MS_DEFAULT;
            Future<Object> work = worker.submit(() -> run(commands, command));
            emit(answer(command.get("id").getAsLong(), work, limit));
        }
        // Neither a client's threads nor a slow goodbye may keep the process.
        Future<Object> reset = worker.submit(() -> commands.get("reset").run(new JsonObject()));
        answer(0, reset, 2_000);
        Runtime.getRuntime().halt(0);
    }

    private static Object run(Map<String, Command> commands, JsonObject fields) throws Exception {
        String name = fields.get("cmd").getAsString();
        Command command = commands.get(name);
        if (command == null) {
            throw new Unsupported("no command " + name);
        }
        return command.run(fields);
    }

    private static Map<String, Object> answer(long id, Future<Object> work, long limitMs) throws InterruptedException {
        try {
            return Map.of("id", id, "ok", work.get(limitMs, TimeUnit.MILLISECONDS));
        } catch (TimeoutException e) {
            work.cancel(true);
            return Map.of("id", id, "error", "not done within " + limitMs + " ms");
        } catch (ExecutionException e) {
            if (e.getCause() instanceof Unsupported) {
                return Map.of("id", id, "unsupported", e.getCause().getMessage());
            }
            return Map.of("id", id, "error", String.valueOf(e.getCause()));
        }
    }
}
