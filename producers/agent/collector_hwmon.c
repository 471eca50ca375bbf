/* SPDX-License-Identifier: MIT */
/*
 * /sys/class/hwmon: fans, temperatures, voltages, as the drivers name them (kernel documentation,
 * hwmon/sysfs-interface). Which files there are is looked up once a minute; their numbers are read
 * at each sample.
 */
#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "collector.h"

enum { CHIP_NAMES, SENSOR_LABEL, BEEP_ENABLED, VRM, UPDATE_INTERVAL, ENERGY, ANY };

static const struct lt_metric metrics[] = {
	[CHIP_NAMES] = {"node_hwmon_chip_names", LT_KIND_GAUGE,
		"Annotation metric for human-readable chip names"},
	[SENSOR_LABEL] = {"node_hwmon_sensor_label", LT_KIND_GAUGE,
		"Label for given chip and sensor"},
	[BEEP_ENABLED] = {"node_hwmon_beep_enabled", LT_KIND_GAUGE, "Hardware beep enabled"},
	[VRM] = {"node_hwmon_voltage_regulator_version", LT_KIND_GAUGE,
		"Hardware voltage regulator"},
	[UPDATE_INTERVAL] = {"node_hwmon_update_interval_seconds", LT_KIND_GAUGE,
		"Hardware monitor update interval"},
	[ENERGY] = {"node_hwmon_energy*_joule_total", LT_KIND_COUNTER,
		"Hardware monitor for joules used so far (energy*)"},
	[ANY] = {"node_hwmon_*", LT_KIND_GAUGE, "Hardware monitor *"},
};

static const char *const sensor_types[] = {"vrm", "beep_enable", "update_interval", "in", "cpu",
	"fan", "pwm", "temp", "curr", "power", "energy", "humidity", "intrusion"};

/* One series. */
struct attr {
	char *family;
	enum lt_kind kind;
	char *chip, *sensor;
	char *label;          /* third label of SENSOR_LABEL, second of CHIP_NAMES; else NULL */
	double mul, div;      /* both, so that results equal node_exporter's to the last bit */
	struct lt_procfile f; /* none (path NULL): the value is 1 */
	double value;
};

struct state {
	struct attr *v;
	size_t n, cap;
	int64_t rescan_ns;
};

/* A file of a chip while it is looked through. */
struct file {
	char *path;
	const char *type;
	char sensor[64];
	char property[192];
};
struct files {
	struct file *v;
	size_t n, cap;
};

static void attr_free(struct attr *a, struct lt_collect_env *env)
{
	lt_collect_drop(env, &a->f);
	free(a->family);
	free(a->chip);
	free(a->sensor);
	free(a->label);
}

static void attrs_clear(struct state *s, struct lt_collect_env *env)
{
	for (size_t i = 0; i < s->n; i++)
		attr_free(&s->v[i], env);
	s->n = 0;
}

static struct attr *attr_add(struct state *s, const char *family, const char *chip,
	const char *sensor, const char *label)
{
	struct attr *a;

	if (s->n == s->cap) {
		s->cap = s->cap ? 2 * s->cap : 64;
		s->v = lt_realloc(s->v, s->cap * sizeof(*s->v));
	}
	a = &s->v[s->n++];
	*a = (struct attr){.family = lt_strdup(family),
		.kind = LT_KIND_GAUGE,
		.chip = lt_strdup(chip),
		.sensor = sensor ? lt_strdup(sensor) : NULL,
		.label = label ? lt_strdup(label) : NULL,
		.mul = 1,
		.div = 1};
	return a;
}

/* Lower case, '_' for what a name cannot have, none at the ends. */
static void clean(char *s)
{
	size_t n = 0, skip = 0;

	for (char *p = s; *p; p++) {
		*p = (char)tolower((unsigned char)*p);
		if (!(*p >= 'a' && *p <= 'z') && !(*p >= '0' && *p <= '9') && *p != ':')
			*p = '_';
	}
	n = strlen(s);
	while (n && s[n - 1] == '_')
		s[--n] = '\0';
	while (s[skip] == '_')
		skip++;
	memmove(s, s + skip, n - skip + 1);
}

/* <type>[<number>][_<property>]; a type is all up to the first digit. */
static bool split_name(const char *name, struct file *f)
{
	size_t type_len = strcspn(name, "0123456789");
	const char *p = name + type_len;
	uint64_t number = 0;
	size_t digits = strspn(p, "0123456789");
	const char *property = p + digits;

	if (type_len == 0)
		return false;
	if (*property == '_' && property[1]) {
		property++;
	} else if (*property) {
		/* no: then the number belongs to a property without one before it */
		for (type_len--; type_len > 0 && name[type_len] != '_'; type_len--)
			;
		if (type_len == 0)
			return false;
		property = name + type_len + 1;
		digits = 0;
	}
	if (digits && (!lt_token_u64((struct lt_token){p, digits}, &number) || number > INT32_MAX))
		return false;
	f->type = NULL;
	for (size_t i = 0; i < LT_ARRAY_LEN(sensor_types); i++)
		if (lt_token_is((struct lt_token){name, type_len}, sensor_types[i]))
			f->type = sensor_types[i];
	if (!f->type || strlen(property) >= sizeof(f->property))
		return false;
	snprintf(f->sensor, sizeof(f->sensor), "%s%llu", f->type, (unsigned long long)number);
	strcpy(f->property, property);
	return true;
}

static void list_files(struct files *fs, const char *dir)
{
	DIR *d = opendir(dir);
	struct dirent *e;

	if (!d)
		return;
	while ((e = readdir(d))) {
		struct file f = {0}, *old = NULL;

		if (!split_name(e->d_name, &f))
			continue;
		f.path = lt_asprintf("%s/%s", dir, e->d_name);
		for (size_t i = 0; i < fs->n && !old; i++)
			if (strcmp(fs->v[i].sensor, f.sensor) == 0 &&
				strcmp(fs->v[i].property, f.property) == 0)
				old = &fs->v[i];
		if (old) {
			free(old->path);
			*old = f;
			continue;
		}
		if (fs->n == fs->cap) {
			fs->cap = fs->cap ? 2 * fs->cap : 32;
			fs->v = lt_realloc(fs->v, fs->cap * sizeof(*fs->v));
		}
		fs->v[fs->n++] = f;
	}
	closedir(d);
}

/*
 * The name of a chip: made from the bus and the name of its device, which do not change, or else
 * its name file, or else hwmonN. Heap; NULL when there is nothing to make it from.
 */
static char *chip_name(const char *dir)
{
	char *device = lt_asprintf("%s/device", dir), *real = realpath(device, NULL);
	char text[LT_LABEL_VALUE_MAX + 1], *path, *base, *name = NULL;

	free(device);
	if (real) {
		char *slash = strrchr(real, '/');

		base = lt_strdup(slash ? slash + 1 : real);
		clean(base);
		if (slash) {
			char *bus;

			*slash = '\0';
			bus = strrchr(real, '/');
			bus = lt_strdup(bus ? bus + 1 : real);
			clean(bus);
			if (*bus && *base)
				name = lt_asprintf("%s_%s", bus, base);
			free(bus);
		}
		if (!name && *base)
			name = lt_strdup(base);
		free(base);
		free(real);
		if (name)
			return name;
	}
	path = lt_asprintf("%s/name", dir);
	if (lt_procfile_once(path, text, sizeof(text))) {
		clean(text);
		if (*text)
			name = lt_strdup(text);
	}
	free(path);
	if (name)
		return name;
	real = realpath(dir, NULL);
	if (!real)
		return NULL;
	base = strrchr(real, '/');
	name = lt_strdup(base ? base + 1 : real);
	free(real);
	clean(name);
	if (*name)
		return name;
	free(name);
	return NULL;
}

static bool has(const struct files *fs, const char *sensor, const char *property)
{
	for (size_t i = 0; i < fs->n; i++)
		if (strcmp(fs->v[i].sensor, sensor) == 0 &&
			strcmp(fs->v[i].property, property) == 0)
			return true;
	return false;
}

static bool is_one_of(const char *s, const char *const *list)
{
	for (; *list; list++)
		if (strcmp(s, *list) == 0)
			return true;
	return false;
}

/* node_exporter's name, kind and factors of a value. */
static char *family_of(
	const struct file *f, bool also_bare, double *mul, double *div, enum lt_kind *kind)
{
	static const char *const interval[] = {
		"average_interval", "average_interval_min", "average_interval_max", NULL};
	static const char *const rpm[] = {"input", "min", "max", "target", NULL};
	char property[sizeof(f->property)];
	const char *unit = "", *p = f->property, *t = f->type;

	*mul = *div = 1;
	*kind = LT_KIND_GAUGE;
	if (strcmp(t, "beep_enable") == 0)
		return *p ? NULL : lt_strdup(metrics[BEEP_ENABLED].name);
	if (strcmp(t, "vrm") == 0)
		return *p ? NULL : lt_strdup(metrics[VRM].name);
	if (strcmp(t, "update_interval") == 0) {
		*mul = 0.001;
		return *p ? NULL : lt_strdup(metrics[UPDATE_INTERVAL].name);
	}
	strcpy(property, p);
	clean(property);
	if (strcmp(p, "fault") == 0 || strcmp(p, "alarm") == 0) {
		unit = "";
	} else if (strcmp(p, "beep") == 0) {
		unit = "_enabled";
	} else if (strcmp(t, "in") == 0 || strcmp(t, "cpu") == 0) {
		unit = "_volts";
		*mul = 0.001;
	} else if (strcmp(t, "temp") == 0 && strcmp(p, "type") != 0) {
		unit = "_celsius";
		*mul = 0.001;
	} else if (strcmp(t, "curr") == 0) {
		unit = "_amps";
		*mul = 0.001;
	} else if (strcmp(t, "energy") == 0) {
		unit = "_joule_total";
		*div = 1000000.0;
		*kind = LT_KIND_COUNTER;
	} else if (strcmp(t, "power") == 0 && strcmp(p, "accuracy") == 0) {
		*div = 1000000.0;
	} else if (strcmp(t, "power") == 0 && is_one_of(p, interval)) {
		unit = "_seconds";
		*mul = 0.001;
	} else if (strcmp(t, "power") == 0) {
		unit = "_watt";
		*div = 1000000.0;
	} else if (strcmp(t, "humidity") == 0) {
		*div = 1000000.0;
	} else if (strcmp(t, "fan") == 0 && is_one_of(p, rpm)) {
		unit = "_rpm";
	}
	if (strcmp(p, "input") == 0)
		return lt_asprintf("node_hwmon_%s%s%s", t, also_bare ? "_input" : "", unit);
	return lt_asprintf("node_hwmon_%s%s%s%s", t, *p ? "_" : "", *p ? property : "", unit);
}

static void add_file(struct state *s, struct lt_collect_env *env, const struct files *fs,
	const struct file *f, const char *chip)
{
	char text[LT_LABEL_VALUE_MAX + 1];
	struct lt_procfile pf;
	enum lt_kind kind;
	struct attr *a;
	double mul, div, v;
	char *family;

	if (strcmp(f->property, "label") == 0) {
		if (lt_procfile_once(f->path, text, sizeof(text)))
			attr_add(s, metrics[SENSOR_LABEL].name, chip, f->sensor, text);
		return;
	}
	family = family_of(f, has(fs, f->sensor, ""), &mul, &div, &kind);
	if (!family)
		return;
	lt_procfile_init(&pf, lt_strdup(f->path), true);
	/* What cannot be read or is no number is left out till the next look. */
	if (!lt_metric_name_valid(family, strlen(family)) ||
		lt_procfile_number(&pf, &v, NULL) != LT_OK) {
		lt_procfile_fini(&pf);
	} else {
		a = attr_add(s, family, chip, f->sensor, NULL);
		a->kind = kind;
		a->mul = mul;
		a->div = div;
		a->f = pf;
		lt_collect_keep(env, &a->f);
	}
	free(family);
}

static void scan_chip(struct state *s, struct lt_collect_env *env, const char *dir)
{
	char text[LT_LABEL_VALUE_MAX + 1], *path, *chip = chip_name(dir);
	struct files fs = {0};

	if (!chip)
		return;
	list_files(&fs, dir);
	path = lt_asprintf("%s/device", dir);
	list_files(&fs, path);
	free(path);
	path = lt_asprintf("%s/name", dir);
	if (lt_procfile_once(path, text, sizeof(text))) {
		clean(text);
		if (*text)
			attr_add(s, metrics[CHIP_NAMES].name, chip, NULL, text);
	}
	free(path);
	for (size_t i = 0; i < fs.n; i++) {
		add_file(s, env, &fs, &fs.v[i], chip);
		free(fs.v[i].path);
	}
	free(fs.v);
	free(chip);
}

static int text_cmp(const char *a, const char *b)
{
	return strcmp(a ? a : "", b ? b : "");
}

static int by_series(const void *x, const void *y)
{
	const struct attr *a = x, *b = y;
	int c = strcmp(a->family, b->family);

	if (c == 0)
		c = strcmp(a->chip, b->chip);
	if (c == 0)
		c = text_cmp(a->sensor, b->sensor);
	return c ? c : text_cmp(a->label, b->label);
}

static int rescan(struct state *s, struct lt_collect_env *env, struct lt_err *err)
{
	char *dir = lt_collect_path(env->conf->sysfs, "class/hwmon");
	DIR *d = opendir(dir);
	struct dirent *e;
	size_t n = 0;

	attrs_clear(s, env);
	s->rescan_ns = env->mono_ns + LT_COLLECT_RESCAN_NS;
	if (!d) {
		int rc = lt_fail(err, errno == ENOENT ? LT_EAGAIN : LT_EIO, LT_CLS_RETRY,
			"hwmon.scan", "%s: %s", dir, strerror(errno));

		free(dir);
		return rc;
	}
	while ((e = readdir(d))) {
		char *chip;
		struct stat st;

		if (e->d_name[0] == '.')
			continue;
		chip = lt_asprintf("%s/%s", dir, e->d_name);
		if (stat(chip, &st) == 0 && S_ISDIR(st.st_mode))
			scan_chip(s, env, chip);
		free(chip);
	}
	closedir(d);
	free(dir);
	if (s->n)
		qsort(s->v, s->n, sizeof(*s->v), by_series);
	/* Two monitors of one device can have the same names: the first stays. */
	for (size_t i = 0; i < s->n; i++) {
		if (n && by_series(&s->v[n - 1], &s->v[i]) == 0)
			attr_free(&s->v[i], env);
		else
			s->v[n++] = s->v[i];
	}
	s->n = n;
	return LT_OK;
}

static int init(void *state, struct lt_collect_env *env, struct lt_err *err)
{
	return rescan(state, env, err);
}

static int sample(
	void *state, struct lt_collect_env *env, struct lt_snapshot *out, struct lt_err *err)
{
	static const char *const chip_sensor[] = {"chip", "sensor"};
	static const char *const chip_names[] = {"chip", "chip_name"};
	static const char *const sensor_label[] = {"chip", "label", "sensor"};
	struct state *s = state;

	if (env->mono_ns >= s->rescan_ns) {
		int rc = rescan(s, env, err);

		if (rc != LT_OK)
			return rc;
	}
	for (size_t i = 0; i < s->n; i++) {
		struct attr *a = &s->v[i];
		int rc = LT_OK;

		a->value = 1;
		if (a->f.path)
			rc = lt_procfile_number(&a->f, &a->value, NULL);
		/* It keeps its place, without a value. */
		if (rc != LT_OK)
			a->value = NAN;
		if (rc == LT_EAGAIN)
			s->rescan_ns = 0;
		if (strcmp(a->family, metrics[BEEP_ENABLED].name) == 0)
			a->value = a->value == 1 ? 1 : 0;
	}
	for (size_t i = 0; i < s->n; i++) {
		struct attr *a = &s->v[i];

		if (i == 0 || strcmp(s->v[i - 1].family, a->family) != 0) {
			if (a->label && a->sensor)
				lt_snapshot_family(out, a->family, a->kind, sensor_label, 3);
			else
				lt_snapshot_family(out, a->family, a->kind,
					a->label ? chip_names : chip_sensor, 2);
		}
		if (a->label && a->sensor)
			lt_snapshot_row(
				out, (const char *const[]){a->chip, a->label, a->sensor}, a->value);
		else
			lt_snapshot_row(out,
				(const char *const[]){a->chip, a->label ? a->label : a->sensor},
				a->value * a->mul / a->div);
	}
	return LT_OK;
}

static void fini(void *state, struct lt_collect_env *env)
{
	struct state *s = state;

	attrs_clear(s, env);
	free(s->v);
}

const struct lt_collector lt_collector_hwmon = {
	.name = "hwmon",
	.help = "temperatures, fans, voltages, currents, powers of hardware monitors",
	.metrics = metrics,
	.n_metrics = LT_ARRAY_LEN(metrics),
	.state_size = sizeof(struct state),
	.init = init,
	.sample = sample,
	.fini = fini,
};
