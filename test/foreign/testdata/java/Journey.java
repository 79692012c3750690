import com.rabbitmq.client.AMQP;
import com.rabbitmq.client.Channel;
import com.rabbitmq.client.Connection;
import com.rabbitmq.client.ConnectionFactory;
import com.rabbitmq.client.GetResponse;
import com.rabbitmq.client.LongString;
import com.rabbitmq.client.MessageProperties;
import com.rabbitmq.client.ShutdownSignalException;
import java.io.IOException;
import java.util.ArrayList;
import java.util.Date;
import java.util.List;
import java.util.Map;
import java.util.concurrent.BlockingQueue;
import java.util.concurrent.Callable;
import java.util.concurrent.LinkedBlockingQueue;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.TimeoutException;
import java.util.stream.Collectors;

/**
 * What an application does with the Java client, told line by line. The line "cut me" asks for the connection to be cut; the journey goes on
 * afterwards, by the client's automatic recovery alone.
 */
public class Journey {
    private final Connection connection;
    private final Channel channel;
    private final ConnectionFactory factory;

    private Journey(String url) throws Exception {
        factory = new ConnectionFactory();
        factory.setUri(url);
        factory.setNetworkRecoveryInterval(200);
        connection = factory.newConnection("journey");
        channel = connection.createChannel();
    }

    public static void main(String[] args) throws Exception {
        Journey j = new Journey(args[0]);
        j.confirms();
        j.returns();
        j.prefetch();
        j.redelivery();
        j.exclusive();
        j.refusal();
        j.deadLetters();
        j.retries();
        j.poison();
        j.cut();
        j.connection.close();
        say("done");
    }

    private static void say(Object... words) {
        System.out.println(java.util.Arrays.stream(words).map(String::valueOf).collect(Collectors.joining(" ")));
        System.out.flush();
    }

    private long ready(String queue) throws IOException {
        return channel.messageCount(queue);
    }

    /** Asks again until there is an answer. */
    private static <T> T until(Callable<T> ask) throws Exception {
        long deadline = System.nanoTime() + TimeUnit.SECONDS.toNanos(20);
        while (System.nanoTime() < deadline) {
            T answer = ask.call();
            if (answer != null) {
                return answer;
            }
            Thread.sleep(20);
        }
        throw new TimeoutException("nothing came");
    }

    private GetResponse get(String queue, boolean autoAck) throws Exception {
        return until(() -> channel.basicGet(queue, autoAck));
    }

    /** Publishes and waits for the confirm: false when it is a nack. */
    private boolean publish(String queue, AMQP.BasicProperties properties, String body) throws Exception {
        channel.basicPublish("", queue, properties, body.getBytes());
        return channel.waitForConfirms(20_000);
    }

    private void confirms() throws Exception {
        channel.queueDeclare("journey", true, false, false, null);
        channel.confirmSelect();
        for (int i = 0; i < 100; i++) {
            channel.basicPublish("", "journey", MessageProperties.MINIMAL_PERSISTENT_BASIC, String.valueOf(i).getBytes());
        }
        channel.waitForConfirmsOrDie(20_000);
        say("confirmed", ready("journey"));
    }

    private void returns() throws Exception {
        BlockingQueue<String> returned = new LinkedBlockingQueue<>();
        channel.addReturnListener(r -> returned.add(r.getReplyCode() + " " + r.getReplyText() + " " + r.getRoutingKey()));
        channel.basicPublish("", "nobody.home", true, null, new byte[0]);
        channel.waitForConfirmsOrDie(20_000);
        say("returned", returned.remove()); // it was there before the confirm
        channel.clearReturnListeners();
    }

    private void prefetch() throws Exception {
        Channel own = connection.createChannel();
        BlockingQueue<Long> tags = new LinkedBlockingQueue<>();
        List<String> bodies = new ArrayList<>();
        own.basicQos(5);
        String consumer = own.basicConsume("journey", false, (tag, d) -> {
            bodies.add(new String(d.getBody()));
            tags.add(d.getEnvelope().getDeliveryTag());
        }, tag -> { });
        List<Long> held = new ArrayList<>();
        for (int i = 0; i < 5; i++) {
            held.add(tags.poll(20, TimeUnit.SECONDS));
        }
        say("prefetch", held.size() + tags.size(), "ready", ready("journey"));
        for (int done = 0; done < 100; done++) {
            own.basicAck(done < 5 ? held.get(done) : tags.poll(20, TimeUnit.SECONDS), false);
        }
        own.basicCancel(consumer);
        boolean inOrder = true;
        for (int i = 0; i < 100; i++) {
            inOrder &= bodies.get(i).equals(String.valueOf(i));
        }
        say(inOrder ? "in order" : "out of order", "ready", ready("journey"));
        own.close();
    }

    private void redelivery() throws Exception {
        publish("journey", null, "once more");
        GetResponse first = get("journey", false);
        channel.basicNack(first.getEnvelope().getDeliveryTag(), false, true);
        GetResponse second = get("journey", false);
        channel.basicAck(second.getEnvelope().getDeliveryTag(), false);
        say("redelivered", first.getEnvelope().isRedeliver(), second.getEnvelope().isRedeliver());
    }

    private void exclusive() throws Exception {
        Channel own = connection.createChannel();
        String mine = own.queueDeclare().getQueue();
        try (Connection other = factory.newConnection()) {
            other.createChannel().queueDeclarePassive(mine);
        } catch (IOException e) {
            AMQP.Channel.Close reason = (AMQP.Channel.Close) ((ShutdownSignalException) e.getCause()).getReason();
            say("locked", reason.getReplyCode());
        }
        own.queueDelete(mine);
        own.close();
    }

    private void refusal() throws Exception {
        channel.queueDeclare("journey.small", false, false, false, Map.of("x-max-length", 1, "x-overflow", "reject-publish"));
        publish("journey.small", null, "kept");
        say(publish("journey.small", null, "refused") ? "acked" : "nacked");
    }

    /** Takes a dead letter, checks that its headers agree with each other, and tells of its last death. */
    private String death(String queue) throws Exception {
        GetResponse letter = get(queue, true);
        Map<String, Object> last = deaths(letter).get(0);
        check(((Date) last.get("time")).getTime() > System.currentTimeMillis() - 600_000, last);
        check(letter.getProps().getExpiration() == null, letter);
        String text = String.format("%s: %s in %s from '%s' by %s %d times", new String(letter.getBody()), last.get("reason"), last.get("queue"),
            last.get("exchange"), ((List<?>) last.get("routing-keys")).get(0), (Long) last.get("count"));
        LongString expiration = (LongString) last.get("original-expiration");
        return expiration == null ? text : text + " expiration " + expiration;
    }

    @SuppressWarnings("unchecked")
    private static List<Map<String, Object>> deaths(GetResponse letter) {
        return (List<Map<String, Object>>) letter.getProps().getHeaders().get("x-death");
    }

    private static void check(boolean good, Object what) {
        if (!good) {
            throw new AssertionError(what);
        }
    }

    private void deadLetters() throws Exception {
        channel.exchangeDeclare("journey.dlx", "fanout");
        channel.queueDeclare("journey.dead", false, false, false, null);
        channel.queueBind("journey.dead", "journey.dlx", "");
        channel.queueDeclare("journey.work", false, false, false, Map.of("x-dead-letter-exchange", "journey.dlx", "x-max-length", 2));
        publish("journey.work", null, "bad");
        channel.basicReject(get("journey.work", false).getEnvelope().getDeliveryTag(), false);
        say("dead", death("journey.dead"));
        publish("journey.work", new AMQP.BasicProperties.Builder().expiration("50").build(), "late");
        say("dead", death("journey.dead"));
        for (String body : List.of("one", "two", "three")) {
            publish("journey.work", null, body);
        }
        say("dead", death("journey.dead"));
    }

    /** A failed message waits in a queue of its own before it comes back: the usual way to try again later. */
    private void retries() throws Exception {
        channel.queueDeclare("journey.wait", false, false, false,
            Map.of("x-message-ttl", 20, "x-dead-letter-exchange", "", "x-dead-letter-routing-key", "journey.try"));
        channel.queueDeclare("journey.try", false, false, false, Map.of("x-dead-letter-exchange", "", "x-dead-letter-routing-key", "journey.wait"));
        publish("journey.try", null, "flaky");
        for (int i = 0; i < 3; i++) {
            channel.basicNack(get("journey.try", false).getEnvelope().getDeliveryTag(), false, false);
        }
        say("retried", deaths(get("journey.try", true)).stream()
            .map(d -> d.get("queue") + " " + d.get("reason") + " " + d.get("count")).collect(Collectors.joining(" ")));
    }

    private void poison() throws Exception {
        channel.queueDeclare("journey.quorum", true, false, false,
            Map.of("x-queue-type", "quorum", "x-delivery-limit", 2, "x-dead-letter-exchange", "journey.dlx"));
        channel.queuePurge("journey.dead");
        publish("journey.quorum", null, "poison");
        List<Object> counts = new ArrayList<>(List.of("delivery counts"));
        for (int i = 0; i < 3; i++) {
            GetResponse got = get("journey.quorum", false);
            Map<String, Object> headers = got.getProps().getHeaders();
            counts.add(headers == null ? 0 : headers.getOrDefault("x-delivery-count", 0));
            channel.basicNack(got.getEnvelope().getDeliveryTag(), false, true);
        }
        say(counts.toArray());
        say("dead", death("journey.dead"));
    }

    /** Loses the connection with 10 of 20 messages acknowledged. The consumers come back by themselves, with their queues. */
    private void cut() throws Exception {
        BlockingQueue<String> own = new LinkedBlockingQueue<>();
        Channel second = connection.createChannel();
        String mine = second.queueDeclare().getQueue();
        second.queueBind(mine, "amq.fanout", "");
        second.basicConsume(mine, true, (tag, d) -> own.add(new String(d.getBody())), tag -> { });

        BlockingQueue<GetResponse> got = new LinkedBlockingQueue<>();
        Channel third = connection.createChannel();
        third.basicQos(1);
        third.basicConsume("journey", false, (tag, d) -> got.add(new GetResponse(d.getEnvelope(), d.getProperties(), d.getBody(), 0)), tag -> { });
        for (int i = 0; i < 20; i++) {
            publish("journey", MessageProperties.MINIMAL_PERSISTENT_BASIC, String.valueOf(i));
        }
        for (int i = 0; i < 10; i++) {
            third.basicAck(got.poll(20, TimeUnit.SECONDS).getEnvelope().getDeliveryTag(), false);
        }
        check(got.poll(20, TimeUnit.SECONDS) != null, "the eleventh");
        say("cut me");

        List<Object> words = new ArrayList<>(List.of("recovered"));
        boolean redelivered = false;
        for (int i = 0; i < 10; i++) {
            GetResponse g = got.poll(30, TimeUnit.SECONDS);
            words.add(new String(g.getBody()));
            redelivered |= i == 0 && g.getEnvelope().isRedeliver();
            third.basicAck(g.getEnvelope().getDeliveryTag(), false);
        }
        words.addAll(List.of("redelivered", redelivered, "ready", ready("journey")));
        say(words.toArray());
        until(() -> {
            channel.basicPublish("amq.fanout", "", null, "to my own queue".getBytes());
            return own.poll(100, TimeUnit.MILLISECONDS);
        });
        say("the exclusive queue is back");
    }
}
