/* SPDX-License-Identifier: MIT */
#include "term.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <termios.h>
#include <time.h>
#include <unistd.h>

/* Alternate screen, cursor hidden, no wrapping at the right edge; and back. */
static const char enter_text[] = "\033[?1049h\033[?25l\033[?7l\033[2J";
static const char leave_text[] = "\033[0m\033[?7h\033[?25h\033[?1049l";

static struct {
	struct termios before;
	volatile sig_atomic_t entered;
	volatile sig_atomic_t quit, resized, stop;
	unsigned char pending[64]; /* read and not yet taken */
	size_t n_pending;
} term;

static const int crash_signals[] = {SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGABRT};
static struct sigaction crash_before[LT_ARRAY_LEN(crash_signals)];

bool term_usable(void)
{
	const char *name = getenv("TERM");

	return isatty(STDIN_FILENO) && isatty(STDOUT_FILENO) && name && *name &&
	       strcmp(name, "dumb");
}

bool term_colours(void)
{
	const char *no = getenv("NO_COLOR"), *name = getenv("TERM");

	return isatty(STDOUT_FILENO) && !(no && *no) && name && *name && strcmp(name, "dumb");
}

void term_size(unsigned *columns, unsigned *rows)
{
	struct winsize w = {0};

	ioctl(STDOUT_FILENO, TIOCGWINSZ, &w);
	*columns = w.ws_col ? w.ws_col : 80;
	*rows = w.ws_row ? w.ws_row : 24;
}

/* ---- signals ---- */

static void on_signal(int sig)
{
	if (sig == SIGWINCH)
		term.resized = 1;
	else if (sig == SIGTSTP)
		term.stop = 1;
	else
		term.quit = 1;
}

/* Only async-signal-safe calls: also used when the program crashes. */
static void put_back(void)
{
	ssize_t n;

	if (!term.entered)
		return;
	term.entered = 0;
	n = write(STDOUT_FILENO, leave_text, sizeof(leave_text) - 1);
	(void)n; /* the terminal may be gone */
	tcsetattr(STDIN_FILENO, TCSADRAIN, &term.before);
}

static void on_crash(int sig)
{
	put_back();
	for (size_t i = 0; i < LT_ARRAY_LEN(crash_signals); i++)
		if (crash_signals[i] == sig)
			sigaction(sig, &crash_before[i], NULL);
	raise(sig);
}

static void terminal_signals(sigset_t *set)
{
	sigemptyset(set);
	sigaddset(set, SIGINT);
	sigaddset(set, SIGTERM);
	sigaddset(set, SIGHUP);
	sigaddset(set, SIGTSTP);
	sigaddset(set, SIGWINCH);
}

void term_block_signals(void)
{
	struct sigaction sa = {.sa_handler = on_signal};
	sigset_t set;

	terminal_signals(&set);
	pthread_sigmask(SIG_BLOCK, &set, NULL);
	for (int sig = 1; sig < NSIG; sig++)
		if (sigismember(&set, sig) == 1)
			sigaction(sig, &sa, NULL);
}

/* ---- enter, leave ---- */

static int enter(struct lt_err *err)
{
	struct termios raw;
	ssize_t n;

	if (tcgetattr(STDIN_FILENO, &term.before))
		return lt_fail(err, LT_EIO, LT_CLS_FATAL, "term.enter",
			"cannot read the terminal's state: %s", strerror(errno));
	raw = term.before;
	raw.c_lflag &= ~(tcflag_t)(ICANON | ECHO);
	raw.c_iflag &= ~(tcflag_t)(IXON | ICRNL);
	raw.c_cc[VMIN] = 1;
	raw.c_cc[VTIME] = 0;
	if (tcsetattr(STDIN_FILENO, TCSADRAIN, &raw))
		return lt_fail(err, LT_EIO, LT_CLS_FATAL, "term.enter",
			"cannot set up the terminal: %s", strerror(errno));
	term.entered = 1;
	n = write(STDOUT_FILENO, enter_text, sizeof(enter_text) - 1);
	if (n < 0) {
		put_back();
		return lt_fail(err, LT_EIO, LT_CLS_FATAL, "term.enter",
			"cannot write to the terminal: %s", strerror(errno));
	}
	return LT_OK;
}

int term_enter(struct lt_err *err)
{
	struct sigaction sa = {.sa_handler = on_crash};
	int rc = enter(err);

	if (rc != LT_OK)
		return rc;
	atexit(put_back);
	for (size_t i = 0; i < LT_ARRAY_LEN(crash_signals); i++)
		sigaction(crash_signals[i], &sa, &crash_before[i]);
	return LT_OK;
}

void term_leave(void)
{
	put_back();
}

/* Ctrl-Z: the shell's screen meanwhile. */
static int into_background(void)
{
	term.stop = 0;
	put_back();
	raise(SIGSTOP);
	return enter(NULL) == LT_OK ? TERM_RESIZE : TERM_QUIT;
}

/* ---- keys ---- */

static const struct {
	const char *bytes;
	int key;
} sequences[] = {
	{"\033[A", TERM_UP},
	{"\033OA", TERM_UP},
	{"\033[B", TERM_DOWN},
	{"\033OB", TERM_DOWN},
	{"\033[5~", TERM_PAGE_UP},
	{"\033[6~", TERM_PAGE_DOWN},
	{"\033[H", TERM_HOME},
	{"\033OH", TERM_HOME},
	{"\033[1~", TERM_HOME},
	{"\033[F", TERM_END},
	{"\033OF", TERM_END},
	{"\033[4~", TERM_END},
};

static int take(size_t n, int key)
{
	term.n_pending -= n;
	memmove(term.pending, term.pending + n, term.n_pending);
	return key;
}

/* How long the control sequence at the front is; unknown ones are skipped as a whole. */
static size_t sequence_length(void)
{
	size_t i = 2;

	if (term.n_pending < 2 || (term.pending[1] != '[' && term.pending[1] != 'O'))
		return 1;
	while (i < term.n_pending && (term.pending[i] < 0x40 || term.pending[i] > 0x7e))
		i++;
	return i < term.n_pending ? i + 1 : term.n_pending;
}

static int take_key(void)
{
	size_t n;

	if (term.pending[0] != '\033')
		return take(1, term.pending[0]);
	for (size_t i = 0; i < LT_ARRAY_LEN(sequences); i++) {
		n = strlen(sequences[i].bytes);
		if (term.n_pending >= n && !memcmp(term.pending, sequences[i].bytes, n))
			return take(n, sequences[i].key);
	}
	n = sequence_length();
	return take(n, n == 1 ? TERM_ESCAPE : TERM_NONE);
}

int term_key(int timeout_ms, int wake_fd)
{
	struct pollfd p[2] = {{STDIN_FILENO, POLLIN, 0}, {wake_fd, POLLIN, 0}};
	struct timespec ts = {timeout_ms / 1000, timeout_ms % 1000 * 1000000L};
	sigset_t mask;
	ssize_t n;
	int rc;

	if (term.n_pending)
		return take_key();
	pthread_sigmask(SIG_SETMASK, NULL, &mask);
	sigdelset(&mask, SIGINT);
	sigdelset(&mask, SIGTERM);
	sigdelset(&mask, SIGHUP);
	sigdelset(&mask, SIGTSTP);
	sigdelset(&mask, SIGWINCH);
	rc = ppoll(p, wake_fd < 0 ? 1 : 2, timeout_ms < 0 ? NULL : &ts, &mask);
	if (term.quit)
		return TERM_QUIT;
	if (term.stop)
		return into_background();
	if (term.resized) {
		term.resized = 0;
		return TERM_RESIZE;
	}
	if (rc < 0)
		return errno == EINTR ? TERM_NONE : TERM_QUIT;
	if (rc > 0 && p[0].revents) {
		n = read(STDIN_FILENO, term.pending, sizeof(term.pending));
		if (n <= 0)
			return n < 0 && errno == EINTR ? TERM_NONE : TERM_QUIT;
		term.n_pending = (size_t)n;
		return take_key();
	}
	return rc > 0 ? TERM_WAKE : TERM_NONE;
}
