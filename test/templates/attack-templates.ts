/** Templates that would take all time or memory, or overflow the stack. */

const many = (piece: string, count: number): string => piece.repeat(count);

/** Each ends in ERR_CHAT_TEMPLATE. Their messages: one, of 1,000 characters. */
export const ATTACKS: Readonly<Record<string, string>> = {
  "nested loops": "{% for a in range(100000) %}{% for b in range(100000) %}{% endfor %}{% endfor %}",
  "text times a number": "{{ 'x' * 10**9 }}",
  "text times numbers": "{{ ('x' * 1000000) * 1000 }}",
  "a list times a number": "{{ [1] * 10**9 }}",
  "a tuple times a number": "{{ (1, 2) * 10**9 }}",
  "the filter center": "{{ 'x' | center(10**9) }}",
  "center, ljust, zfill": "{{ 'x'.ljust(10**9) }}",
  zfill: "{{ 'x'.zfill(10**9) }}",
  expandtabs: "{{ 'a\\t'.expandtabs(10**9) }}",
  "a long range": "{{ range(10**9) }}",
  "text doubled":
    "{% set n = namespace(x='ab') %}{% for i in range(100) %}{% set n.x = n.x ~ n.x %}{% endfor %}{{ n.x }}",
  "text doubled with +":
    "{% set n = namespace(x='ab') %}{% for i in range(100) %}{% set n.x = n.x + n.x %}{% endfor %}",
  "text doubled in blocks":
    "{% set n = namespace(x='a') %}{% for i in range(100) %}{% set y %}{{ n.x }}{{ n.x }}{% endset %}{% set n.x = y %}{% endfor %}",
  "a list doubled":
    "{% set n = namespace(x=['a']) %}{% for i in range(100) %}{% set n.x = n.x + n.x %}{% endfor %}",
  "a list extended":
    "{% set n = namespace(x=[]) %}{% for i in range(100000) %}{% set n.x = n.x + [i] %}{% endfor %}",
  "a dict extended":
    "{% set n = namespace(x={}) %}{% for i in range(100000) %}{% set n.x = dict(n.x, **{'k' ~ i: i}) %}{% endfor %}",
  "a deep list printed":
    "{% set n = namespace(x=[]) %}{% for i in range(50000) %}{% set n.x = [n.x] %}{% endfor %}{{ n.x }}",
  "a deep list as JSON":
    "{% set n = namespace(x=[]) %}{% for i in range(50000) %}{% set n.x = [n.x] %}{% endfor %}{{ n.x | tojson }}",
  "deep lists compared":
    "{% set n = namespace(x=[], y=[]) %}{% for i in range(50000) %}{% set n.x = [n.x] %}{% set n.y = [n.y] %}{% endfor %}{{ n.x == n.y }}",
  "a wide tree printed":
    "{% set n = namespace(x=[]) %}{% for i in range(60) %}{% set n.x = [n.x, n.x] %}{% endfor %}{{ n.x }}",
  "a wide tree as JSON":
    "{% set n = namespace(x=[]) %}{% for i in range(60) %}{% set n.x = [n.x, n.x] %}{% endfor %}{{ n.x | tojson }}",
  "wide trees compared":
    "{% set n = namespace(x=[], y=[]) %}{% for i in range(60) %}{% set n.x = [n.x, n.x] %}{% set n.y = [n.y, n.y] %}{% endfor %}{{ n.x == n.y }}",
  "a wide tree as a key":
    "{% set n = namespace(x=('a',)) %}{% for i in range(60) %}{% set n.x = (n.x, n.x) %}{% endfor %}{{ {n.x: 1} }}",
  "a macro that calls itself": "{% macro f() %}{{ f() }}{% endmacro %}{{ f() }}",
  "a macro that calls itself twice": "{% macro f(n) %}{{ f(n) }}{{ f(n) }}{% endmacro %}{{ f(1) }}",
  "calls without end":
    "{% macro f(n) %}{% if n > 1 %}{{ f(n - 1) }}{{ f(n - 2) }}{% endif %}{% endmacro %}{{ f(40) }}",
  "a macro within expressions": `{% macro f() %}{{ ${many("[", 30)}f()${many("]", 30)} }}{% endmacro %}{{ f() }}`,
  "a recursive loop": "{% for a in [1] recursive %}{{ loop([1]) }}{% endfor %}",
  "100,000 brackets": `{{ ${many("(", 100_000)}1${many(")", 100_000)} }}`,
  "100,000 lists": `{{ ${many("[", 100_000)}${many("]", 100_000)} }}`,
  "100,000 nots": `{{ ${many("not ", 50_000)}1 }}`,
  "100,000 signs": `{{ ${many("-", 100_000)}1 }}`,
  "100,000 terms": `{{ ${many("1+", 100_000)}1 }}`,
  "100,000 attributes": `{{ a${many(".b", 100_000)} }}`,
  "100,000 calls": `{{ a${many("()", 100_000)} }}`,
  "30,000 filters": `{{ 1${many("|string", 30_000)} }}`,
  "20,000 conditions": `{{ 1${many(" if 1 else 1", 20_000)} }}`,
  "20,000 blocks": many("{% if 1 %}", 20_000),
  "100,000 brackets around a target": `{% set ${many("(", 100_000)}a`,
  "a text without its end": `{{ '${many("\\", 200_000)}`,
  "raw without its end": `{% raw %}${many("{% ", 80_000)}`,
  "a long number": `{{ ${many("1_", 120_000)} }}`,
  "replace of nothing": "{% set a = 'a' * 10000 %}{{ a.replace('', a) }}",
  "join of characters": "{% set a = 'a' * 10000 %}{{ a.join(a) }}",
  "split into millions": "{% set a = 'a,' * 10000000 %}{{ a.split(',') | length }}",
  "characters of a long text": "{% set a = 'a' * 20000000 %}{{ (a | list) | length }}",
  "sorting again and again":
    "{% for i in range(1000) %}{% set x = range(100000) | list | sort %}{% endfor %}",
  "a width of a billion, %": "{{ '%1000000000d' % 1 }}",
  "a width of a billion, {}": "{{ '{:>1000000000}'.format(1) }}",
  "a precision of a billion": "{{ '%.1000000000f' % 1.5 }}",
  "lines indented": "{{ ('a\\n' * 1000000) | indent(1000) }}",
  "an indent of a billion": "{{ 'a' | indent(10**9, true) }}",
  "JSON with an indent of a billion": "{{ {'a': 1} | tojson(indent=10**9) }}",
  "batches filled up": "{{ [1] | batch(10**9, 1) | list }}",
  "a billion slices": "{{ [1] | slice(10**9) | list | length }}",
  "a power": "{{ 10**10**9 }}",
  "upper case again and again": "{% for i in range(1000) %}{% set a = ('a' * 1000000) | upper %}{% endfor %}",
  "looking for what is not there":
    "{% set p = 'a' * 10000 ~ 'b' ~ 'a' * 10000 %}{% set a = 'a' * 1000000 %}{% for i in range(1000) %}{{ p in a }}{{ a.rfind(p) }}{% endfor %}",
  "stripping again and again":
    "{% set a = 'ab' * 1000000 %}{% for i in range(1000) %}{% set x = a.strip('ba') %}{% endfor %}",
  "unique again and again":
    "{% for i in range(1000) %}{{ range(100000) | unique | list | length }}{% endfor %}",
  "escapes in a list": "{{ ['\\x00' * 10000000] }}",
  "title case": "{{ ('a ' * 10000000) | title }}",
  "emoji looked up": "{% set a = '😀' * 1000000 %}{% for i in range(100000) %}{{ a[i] }}{% endfor %}",
  "too long an output": "{% for i in range(100000) %}{{ 'x' * 1000 }}{% endfor %}",
  "a message again and again": "{% for i in range(100000) %}{{ messages[0].content }}{% endfor %}",
  "everything kept":
    "{% set n = namespace(x=[]) %}{% for i in range(100000) %}{% for j in range(100000) %}{% set n.x = [n.x, 'a' ~ j] %}{% endfor %}{% endfor %}",
  "pieces from inside and outside":
    "{% set n = namespace(s='') %}{% for i in range(100000) %}{% set n.s = n.s ~ messages[0].role ~ 'a' %}{% endfor %}{{ n.s }}",
};

/** Each renders or is refused, in good time. */
export const HEAVY: Readonly<Record<string, string>> = {
  "9,000 names and 9,000 ifs":
    Array.from({ length: 9_000 }, (_, i) => `{{a${i}}}`).join("") + many("{% if a %}{% endif %}", 9_000),
  "14,000 blocks on one line": many("{%if 1%}y{%endif%}", 14_000),
  "20,000 elifs": `{% if 0 %}${many("{% elif 0 %}", 20_000)}{% endif %}`,
  "262,144 braces": many("{", 262_144),
  "60,000 pieces": `{{ 1${many("~1", 60_000)} }}`,
  "100,000 macros":
    "{% macro f() %}{{ kwargs }}{% endmacro %}{% for i in range(100000) %}{% set x = f(a=1) %}{% endfor %}",
};
