"""Small templates for the chat template goldens: the language of jinja2 piece by piece."""

VARIABLES = {
    "n": None,
    "yes": True,
    "one": 1,
    "text": "  Hello, World!\n",
    "code": "    def f():\n        pass\n",
    "astral": "a😀b👍🏽",
    "list": [3, 1, 2],
    "words": ["b", "A", "c", "a"],
    "empty": [],
    "d": {"b": 1, "a": [True, None, 1.5, "x'y"], "items": "key", "é": {"k": "v"}},
    "people": [{"name": "Ann", "age": 30, "city": {"zip": "1"}}, {"name": "bob", "age": 25, "city": {"zip": "2"}}, {"name": "Cid", "age": 30}],
    "messages": [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Ho", "tool_calls": None}, {"role": "user", "content": "Hi"}],
    "x": "from outside",
}

SNIPPETS = r"""
{{ text.strip() }}|{{ code.strip('\n') }}|{{ code.lstrip('\n') }}|{{ code.rstrip('\n ') }}|
{{ 'xxabcxx'.strip('x') }}{{ 'abcba'.lstrip('ab') }}{{ 'abcba'.rstrip('ab') }}
{{ '😀a😀'.strip('😀') }}
{{ d }}
{{ 'x' + d }}
{{ 'x' ~ d }}
{% for i in [1, 2, 3] %}a{{ i }}{% if i == 2 %}{% break %}{% endif %}b{% endfor %}
{% for i in [1, 2, 3] %}a{% if i == 2 %}{% continue %}{% endif %}b{% endfor %}
{{ true }} {{ false }} {{ none }} {{ True }} {{ None }}
{{ 1 == '1' }} {{ [1, 'a'] == [1, 'a'] }} {{ {'a': 1} == {'a': 1.0} }} {{ messages[0] == messages[2] }} {{ messages[0] != messages[1] }}
{{ 1 == 1.0 == true }} {{ 0 == false }} {{ none == false }} {{ 'a' != 'b' }}
{{ missing | trim }}|{{ missing | upper }}|{{ missing | length }}|{{ missing | list }}|{{ missing | join(',') }}
{% for a in missing %}x{% else %}none{% endfor %}
{% raw %}{{ not }} {% this %}{% endraw %}
{%- raw -%}  a {{ b }} {%- endraw -%}  c
{% for a in list %}{{ loop.cycle('odd', 'even') }} {% endfor %}
{{ '{} and {1}'.format(1, 2) }}
{{ '{} and {}'.format(1, 'b') }} {{ '{0}-{name}-{0!r}'.format('x', name=2) }} {{ '{a[b]}{a.b}'.format(a={'b': 7}) }}
{{ '{:>5}|{:<5}|{:^5}|{:05d}|{:.2f}|{:,}|{:x}|{:%}'.format('a', 'b', 'c', 42, 3.14159, 1234567, 255, 0.5) }}
{{ '%s is %d years, %.1f, %r, %%, %5s|%-5s|%05d' % ('x', 3, 2.25, 'q', 'a', 'b', 7) }}
{{ '%(a)s-%(b)d' % {'a': 1, 'b': 2} }} {{ '%s' % 5 }} {{ '%s' % [1, 2] }} {{ 'abc' % [1] }}
{{ '%s' % (1, 2) }}
{{ '%d' % 'a' }}
{{ '%s %s' | format(1, 2) }} {{ '%(a)s' | format(a=1) }}
{{ 1 / 2 }} {{ 4 / 2 }} {{ 7 // 2 }} {{ -7 // 2 }} {{ -7 % 3 }} {{ 7 % -3 }} {{ 7.5 // 2 }} {{ 2 ** 10 }} {{ 2 ** -1 }} {{ 2 ** 3 ** 2 }} {{ -2 ** 2 }} {{ 2 ** 0.5 }}
{{ 1 / 0 }}
{{ 1 // 0 }}
{{ 1.0 % 0 }}
{{ 1e16 }} {{ 1e15 }} {{ 1e-4 }} {{ 1e-5 }} {{ 1.0 }} {{ 100000.0 * 10 }} {{ 0.1 + 0.2 }} {{ 1e300 * 1e10 }} {{ -0.0 }} {{ 123456789012345680.0 }}
{{ 0x1F }} {{ 0b101 }} {{ 0o17 }} {{ 1_000 }} {{ 1_0.5e1 }}
{{ 9007199254740991 }} {{ 3 + True }} {{ true + true }} {{ -true }} {{ 'ab' * 3 }} {{ 3 * 'ab' }} {{ [1] * 2 }} {{ 'a' * -1 }}
{{ [1] + [2] }} {{ (1, 2) + (3,) }} {{ (1,) }} {{ () }} {{ (1) }} {{ [] }} {{ {} }}
{{ [1] + (2,) }}
{{ 'a' + 1 }}
{{ 1 ~ 2 + 3 ~ 4 }}
{{ 1 + 2 ~ 3 }}
{{ 1 < 2 < 3 }} {{ 1 < 3 < 2 }} {{ 1 < 2 > 1 }} {{ 'a' < 'b' }} {{ [1, 2] < [1, 3] }} {{ (1,) < (1, 2) }}
{{ 1 < 'a' }}
{{ 'a' in 'abc' }} {{ 'z' not in 'abc' }} {{ 1 in [1] }} {{ 'b' in d }} {{ 1 in d }} {{ none in [none] }} {{ '' in '' }}
{{ 1 in 'abc' }}
{{ 'a' in missing }} {{ missing in [1] }}
{{ not 1 }} {{ not '' }} {{ not [] }} {{ not not 'a' }} {{ 1 and 2 }} {{ 0 and 2 }} {{ 0 or 'x' }} {{ none or missing or 'z' }}
{{ 'yes' if one else 'no' }} {{ 'yes' if missing }}| {{ 'a' if false else 'b' if false else 'c' }}
{{ missing }}|{{ missing is defined }}|{{ missing is undefined }}|{{ not missing }}|{{ missing == missing }}|{{ missing == none }}|{{ missing ~ 'x' }}
{{ missing.a }}
{{ missing['a'] }}
{{ missing() }}
{{ missing + 1 }}
{{ missing < 1 }}
{{ -missing }}
{{ d.nothing }}|{{ d.nothing is defined }}|{{ d['nothing'] }}|{{ d.nothing.more is defined }}
{{ [missing] }} {{ {'a': missing} }}
{{ d.b }} {{ d['b'] }} {{ d.a[0] }} {{ d.é.k }} {{ d['é']['k'] }}
{{ d.items is callable }} {{ d['items'] }} {{ d.keys() }} {{ d.values() | list }} {{ d.items() | first }} {{ d.get('b') }} {{ d.get('q') }} {{ d.get('q', 5) }}
{{ d.items() }}
{% for k, v in d.items() %}{{ k }}={{ v }};{% endfor %}
{% for k in d %}{{ k }},{% endfor %} {{ d | length }} {{ d | list }} {{ d.keys() | list }} {{ d | items | list }}
{{ d.pop('b') }}
{{ list.append(4) }}
{{ list.append is defined }}|{{ list.append }}|{{ d.update }}|{{ d.setdefault is defined }}
{{ ''.__class__ }}|{{ d.__class__ is defined }}|{{ d.__init__ }}|{{ list.__len__ }}
{{ ''.__class__.mro }}
{{ d._private }}|{{ one._x }}|{{ text['__class__'] }}
{{ list[0] }} {{ list[-1] }} {{ list[5] }}| {{ list['a'] }}| {{ list.0 }} {{ list[true] }} {{ list[1.0] }}|
{{ text[0] }}{{ text[2] }}{{ text[-2] }}|{{ text[99] }}|{{ text['upper'] is callable }}
{{ list[1:] }} {{ list[:-1] }} {{ list[::-1] }} {{ list[::2] }} {{ list[5:] }} {{ list[none:2] }} {{ (1,2,3)[1:] }} {{ 'hello'[1:3] }} {{ 'hello'[::-1] }} {{ 'hello'[-3:] }} {{ 'hello'[4:1:-1] }}
{{ list[::0] }}
{{ d[1:] }}
{{ missing[1:] }}
{{ astral | length }} {{ astral[1] }} {{ astral[1:3] }} {{ astral | reverse }} {{ astral[-2:] }} {{ astral | list }} {{ astral.find('b') }} {{ astral.center(9, '*') }} {{ astral.index('👍') }}
{{ 'abc'.upper() }} {{ 'ABC'.lower() }} {{ 'hello world'.title() }} {{ "they're bill's".title() }} {{ 'hELLO'.capitalize() }} {{ 'aB'.swapcase() }} {{ 'ß'.upper() }} {{ 'ΑΣ'.lower() }} {{ 'İ'.lower() | length }}
{{ "they're (a)b-c".title() }}|{{ "they're (a)b-c d_e" | title }}|{{ 'foo bar' | capitalize }}
{{ 'a,b,,c'.split(',') }} {{ 'a b  c '.split() }} {{ 'a b c'.split(' ', 1) }} {{ ' a b '.split(' ') }} {{ 'a b c'.rsplit(' ', 1) }} {{ ' a  b  c '.split(none, 1) }} {{ ' a  b  c '.rsplit(none, 1) }} {{ ''.split() }} {{ ''.split(',') }} {{ 'a,b'.split(sep=',', maxsplit=0) }}
{{ 'a'.split('') }}
{{ 'a=b=c'.partition('=') }} {{ 'a=b=c'.rpartition('=') }} {{ 'abc'.partition('x') }} {{ 'abc'.rpartition('x') }}
{{ 'a\nb\r\nc\x0bd\u2028e'.splitlines() }} {{ 'a\nb\n'.splitlines(true) }} {{ ''.splitlines() }}
{{ 'aaa'.replace('a', 'b', 2) }} {{ 'abc'.replace('', '-') }} {{ 'abc'.replace('', '-', 2) }} {{ 'aaa' | replace('a', 'b') }} {{ 'aaa' | replace('a', 'b', 1) }} {{ 5 | replace('5', 6) }}
{{ 'abc'.startswith('a') }} {{ 'abc'.startswith(('x', 'ab')) }} {{ 'abc'.endswith('c') }} {{ 'abc'.startswith('b', 1) }} {{ 'abc'.endswith('b', 0, 2) }} {{ 'abc'.startswith('') }}
{{ 'abc'.startswith(['a']) }}
{{ 'abcabc'.find('c') }} {{ 'abcabc'.rfind('c') }} {{ 'abc'.find('x') }} {{ 'abcabc'.find('a', 1) }} {{ 'abcabc'.count('bc') }} {{ 'abc'.count('') }} {{ 'abc'.index('b') }}
{{ 'abc'.index('x') }}
{{ '7'.zfill(3) }} {{ '-7'.zfill(4) }} {{ 'a'.ljust(3, '.') }}| {{ 'a'.rjust(3) }} {{ 'ab'.center(5) }}| {{ 'ab'.center(5, '*') }} {{ 'a'.center(4, '*') }} {{ 'a\tb'.expandtabs(4) }}
{{ 'x'.join(['a', 'b']) }} {{ ', '.join(d) }} {{ ''.join('abc') }}
{{ 'x'.join([1]) }}
{{ 'abc'.isalpha() }} {{ '12'.isdigit() }} {{ '²'.isdigit() }} {{ '½'.isnumeric() }} {{ '五'.isnumeric() }} {{ 'a1'.isalnum() }} {{ ' '.isspace() }} {{ ''.isspace() }} {{ 'aB'.islower() }} {{ 'A1'.isupper() }} {{ 'Ab Cd'.istitle() }} {{ 'a_1'.isidentifier() }} {{ 'é'.isascii() }} {{ '\n'.isprintable() }} {{ '٣'.isdecimal() }}
{{ 'abc'.removeprefix('a') }} {{ 'abc'.removesuffix('bc') }} {{ 'Ab'.casefold() }}
{{ 'a'.encode() }}
{{ 'a'.nothing }}|{{ 'a'.nothing is defined }}
{{ 'a'.nothing() }}
{{ ' \u0085\u001f\u00a0x\ufeff ' | trim | length }} {{ '\u3000x\u2003'.strip() }}
{{ 'xay' | trim('xy') }} {{ 5 | trim }}
{{ 'it\'s' }} {{ "a\"b" }} {{ 'a\\b' }} {{ '\x41\u00e9\U0001F600\101\0' | length }} {{ 'a\qb' }} {{ '\é' }} {{ 'a' 'b' }}
{{ ["it's", 'a"b', 'it\'s "x"', 'a\\b', '\n\t\x00\x7f\u00a0\u200b\ue000é😀\u2028'] }}
{{ d | tojson }} {{ d | tojson(indent=2) }} {{ d | tojson(ensure_ascii=true) }} {{ d | tojson(sort_keys=true) }} {{ d | tojson(separators=(',', ':')) }} {{ [] | tojson(indent=2) }} {{ {} | tojson }} {{ 'a\u2028<>&\'"' | tojson }} {{ (1, 2) | tojson }} {{ 1.0 | tojson }} {{ {1: 2, true: 3, none: 4, 1.5: 5} | tojson }}
{{ d | tojson(indent='--') }} {{ [1, [2]] | tojson(indent=0) }} {{ [1] | tojson(4) }}
{{ missing | tojson }}
{{ d.items() | tojson }}
{{ {(1, 2): 3} | tojson }}
{{ list | sort }} {{ list | sort(reverse=true) }} {{ words | sort }} {{ words | sort(case_sensitive=true) }} {{ people | sort(attribute='age,name') | map(attribute='name') | list }} {{ people | sort(attribute='age', reverse=true) | map(attribute='name') | join }}
{{ [1, 'a'] | sort }}
{{ d | dictsort | map('first') | list }} {{ {'b': 1, 'a': 2} | dictsort(by='value') }} {{ {'b': 1, 'A': 2} | dictsort(true) }}
{{ words | unique | list }} {{ ['a', 'A', 'b'] | unique | list }} {{ ['a', 'A'] | unique(case_sensitive=true) | list }}
{{ list | min }} {{ list | max }} {{ [] | max }}| {{ words | min }} {{ people | max(attribute='age') }} {{ list | sum }} {{ people | sum(attribute='age') }} {{ [] | sum }} {{ [1.5, 2] | sum }} {{ [[1], [2]] | sum(start=[]) }}
{{ list | first }} {{ list | last }} {{ [] | first }}| {{ 'abc' | first }} {{ 'abc' | last }} {{ d | last }} {{ list | reverse | list }} {{ 'abc' | reverse }} {{ list | length }} {{ list | count }}
{{ (list | select('odd')) | last }}
{{ 5 | length }}
{{ list | select('odd') | list }} {{ list | reject('equalto', 1) | list }} {{ people | selectattr('age', 'gt', 26) | map(attribute='name') | list }} {{ people | rejectattr('city') | map(attribute='name') | join(',') }} {{ [0, 1, none, 'a'] | select | list }} {{ people | selectattr('city.zip', 'defined') | list | length }} {{ people | selectattr('name', 'in', ['Ann']) | list | length }}
{{ list | select('odd') | length }}
{{ list | map('string') | list }} {{ ['a'] | map('upper') | first }} {{ people | map(attribute='city.zip', default='?') | list }} {{ people | map(attribute='none') | list }} {{ ['a b'] | map('replace', ' ', '_') | list }} {{ [[1, 2]] | map(attribute=0) | list }}
{{ list | map | list }}
{{ missing | map('upper') | list }} {{ list | map('nofilter') is iterable }}
{{ people | groupby('age') | map('first') | list }} {% for g in people | groupby('age') %}{{ g.grouper }}:{{ g.list | length }} {% endfor %}{{ people | groupby('city.zip', default='0') | length }}
{{ list | batch(2) | list }} {{ list | batch(2, 'x') | list }} {{ [1,2,3,4,5] | slice(2) | list }} {{ [1,2,3,4,5] | slice(2, 'x') | list }}
{{ list | join(', ') }} {{ [1, none, true, 'a'] | join('-') }} {{ people | join(', ', attribute='name') }} {{ 'abc' | join('.') }} {{ d | join }}
{{ 'x' | default('y') }} {{ missing | default('y') }} {{ '' | default('y') }}| {{ '' | default('y', true) }} {{ none | d('z') }} {{ missing | d }}|
{{ -5 | abs }} {{ 3.7 | int }} {{ '42' | int }} {{ 'x' | int }} {{ 'x' | int(7) }} {{ '0x1f' | int(base=16) }} {{ ' 12 ' | int }} {{ '3.9' | int }} {{ '1_000' | int }} {{ none | int }} {{ true | int }} {{ '-7' | int }} {{ '' | int }}
{{ '3.5' | float }} {{ 'x' | float }} {{ 3 | float }} {{ '1e3' | float }} {{ 'inf' | float }} {{ none | float(1.5) }} {{ '.5' | float }} {{ '5.' | float }} {{ 'nan' | float }}
{{ missing | int }}
{{ 2.5 | round }} {{ 3.5 | round }} {{ 42.55 | round(1) }} {{ 2.675 | round(2) }} {{ 42.1 | round(method='ceil') }} {{ 42.9 | round(0, 'floor') }} {{ 42 | round }} {{ 1.005 | round(2) }} {{ -0.4 | round }}
{{ 'a\nb\n\nc' | indent }}|{{ 'a\nb' | indent(2, true) }}|{{ 'a\n\nb' | indent(2, blank=true) }}|{{ 'a\nb' | indent('>> ') }}|{{ 'a\n' | indent }}|
{{ 'foo bar baz qux' | truncate(9) }}|{{ 'foo bar baz qux' | truncate(9, true) }}|{{ 'foo bar baz qux' | truncate(11) }}|{{ 'foo bar baz qux' | truncate(11, false, '...', 0) }}
{{ 'one two, three' | wordcount }} {{ 'ab' | center(6) }}| {{ 5 | string }} {{ 'a b/c&d é' | urlencode }} {{ 1000000 | filesizeformat }} {{ 1 | filesizeformat }} {{ 1024 | filesizeformat(true) }} {{ 500 | filesizeformat }}
{{ '<a href="x">' | escape }} {{ '<' | e }} {{ '<b>' | safe }} {{ '<' | safe ~ '>' }} {{ ('<' | safe) | length }} {{ '<' | safe | tojson }} {{ '<' | safe == '<' }} {{ '<' | forceescape }}
{{ d | attr('get') is callable }} {{ d | attr('b') }}| {{ d | attr('__class__') }}|
{{ 5 is number }} {{ 5 is integer }} {{ 5.0 is float }} {{ true is number }} {{ true is integer }} {{ true is boolean }} {{ 'a' is string }} {{ d is mapping }} {{ list is sequence }} {{ 'a' is sequence }} {{ d is sequence }} {{ list is iterable }} {{ 5 is iterable }} {{ none is none }} {{ missing is iterable }} {{ missing is sequence }} {{ range is callable }}
{{ 3 is odd }} {{ 4 is even }} {{ 9 is divisibleby 3 }} {{ 9 is divisibleby(2) }} {{ 1 is eq 1 }} {{ 1 is ne(2) }} {{ 1 is lt 2 }} {{ 2 is ge 2 }} {{ 'a' is in 'abc' }} {{ 1 is in [1] }} {{ 'abc' is lower }} {{ 'ABC' is upper }} {{ none is sameas none }} {{ true is true }} {{ 1 is true }} {{ false is false }} {{ 'x' is not string }} {{ 1 is not none and 2 is not none }} {{ 'upper' is filter }} {{ 'odd' is test }} {{ '<' | safe is escaped }}
{{ 1 is number is number }}
{{ 'a' is odd }}
{{ 1 is nothing }}
{{ 1 | nothing }}
{% if false %}{{ 1 | nothing }}{% endif %}fine
{% if false %}{% for a in [1] %}{{ 1 | nothing }}{% endfor %}{% endif %}
{{ (1 | nothing) if false else 'fine' }}
{% for a in list %}{{ loop.index }}{{ loop.index0 }}{{ loop.revindex }}{{ loop.revindex0 }}{{ loop.first }}{{ loop.last }}{{ loop.length }}{{ loop.previtem }}{{ loop.nextitem }}{{ loop.depth }}{{ loop.depth0 }} {% endfor %}
{% for m in messages %}{{ loop.changed(m.role) }}{% endfor %}{{ loop is defined }}
{% for a in [1, 1, 2] %}{% if loop.changed(a) %}{{ a }}{% endif %}{% endfor %}
{% for a in [none, 1] %}{{ loop.nextitem is defined }}{{ loop.previtem is defined }}{{ loop.last }}{% endfor %}
{% for a in list | select('odd') %}{{ loop.index }}/{{ loop.length }}{{ loop.last }} {% endfor %}
{% for a in list if a != 1 %}{{ loop.index }}/{{ loop.length }}:{{ a }} {% else %}x{% endfor %}
{% for a in list if false %}a{% else %}nothing{% endfor %}
{% for a in [1, 2] %}{% continue %}{% else %}nothing came to its end{% endfor %}
{% for a in [1, 2] %}{% break %}{% else %}nothing came to its end{% endfor %}
{% for a, b in [(1, 2), [3, 4]] %}{{ a }}{{ b }}{% endfor %}{% for (a, b), c in [[[1, 2], 3]] %}{{ a + b + c }}{% endfor %}{% for a, in [[1]] %}{{ a }}{% endfor %}
{% for a, b in [(1, 2, 3)] %}{% endfor %}
{% for a in 5 %}{% endfor %}
{% for loop in [1] %}{% endfor %}
{% for c in 'h😀i' %}[{{ c }}]{% endfor %}
{% for i in range(3) %}{% for j in range(2) %}{{ loop.index }}{% endfor %}{{ loop.index }} {% endfor %}
{% for item in [{'n': 'a', 'c': [{'n': 'b', 'c': []}]}, {'n': 'd', 'c': []}] recursive %}{{ loop.depth }}{{ item.n }}[{{ loop(item.c) }}]{% else %}-{% endfor %}
{% for a in [[1, [2]], 3] recursive %}{{ loop(a) if a is iterable else a }},{% endfor %}
{% for a in [1] %}{{ loop(a) }}{% endfor %}
{% for a in [1, 2] %}{{ loop }}{% endfor %}
{{ range(5) | list }} {{ range(1, 5) | list }} {{ range(5, 0, -2) | list }} {{ range(3) }} {{ range(1, 4, 2) }} {{ range(5)[2] }} {{ range(5) | last }} {{ 3 in range(5) }} {{ range(0) | list }} {{ range(5) | length }}
{{ range(100001) }}
{{ range(1, 5, 0) }}
{{ range(1.5) }}
{% set a = 1 %}{% for i in [1, 2] %}{% set a = a + 1 %}{{ a }}{% endfor %}{{ a }}
{% set ns = namespace(n=0, s='') %}{% for i in [1, 2, 3] %}{% set ns.n = ns.n + i %}{% set ns.s = ns.s ~ i %}{% endfor %}{{ ns.n }}{{ ns.s }} {{ ns }} {{ ns.nothing }}| {{ ns['n'] }}
{% set ns = namespace({'a': 1}, b=2) %}{{ ns.a + ns.b }}{% set ns.c = 3 %}{{ ns.c }}
{% set d.x = 1 %}
{% set a, b = 1, 2 %}{{ a }}{{ b }}{% set a, b = b, a %}{{ a }}{{ b }}{% set t = 1, %}{{ t }}
{% set a, b = [1] %}
{% set block %}  in {{ one }} {% endset %}[{{ block }}]{% set up | upper | trim %} a {% endset %}[{{ up }}]
{% if one %}{% set q = 1 %}{% endif %}{{ q }}{% if not one %}{% set r = 1 %}{% endif %}[{{ r }}]
{% for j in [1] %}{% for k in [1] %}{{ x }}{% endfor %}{% set x = 2 %}{{ x }}{% endfor %}{{ x }}
{% for j in [1] %}{% if j == 2 %}{% set x = 2 %}{% endif %}{{ x }}{% endfor %}
{% for j in [1] %}{% set x = x ~ '!' %}{{ x }}{% endfor %}{{ x }}
{% set x = 'changed' %}{% macro m() %}{{ x }}{% endmacro %}{{ m() }}{% set x = 'again' %}{{ m() }}
{% macro m() %}{{ late }}{% endmacro %}{% set late = 'L' %}{{ m() }}
{% macro m() %}{% set inner = 1 %}{{ inner }}{% endmacro %}{{ m() }}[{{ inner }}]
{% for i in [1, 2] %}{% macro m() %}{{ i }}{% endmacro %}{{ m() }}{% endfor %}[{{ m }}]
{% macro f(a, b='B', c=a) %}{{ a }}{{ b }}{{ c }}{% endmacro %}{{ f(1) }} {{ f(1, 2) }} {{ f(1, c=3) }} {{ f() }}| {{ f(b=1, a=2) }} {{ f(none) }}
{% macro f(a) %}{{ a }}{{ varargs }}{{ kwargs }}{% endmacro %}{{ f(1, 2, 3, k=4) }} {{ f(*[1, 2], **{'z': 1}) }} {{ f }} {{ f.name }} {{ f.arguments }}
{% macro f(a) %}{{ a }}{% endmacro %}{{ f(1, 2) }}
{% macro f(a) %}{{ a }}{% endmacro %}{{ f(b=2) }}
{% macro f(n) %}{{ n }}{% if n > 0 %}{{ f(n - 1) }}{% endif %}{% endmacro %}{{ f(5) }}
{% macro f() %}[{{ caller() }}]{% endmacro %}{% call f() %}in{% endcall %}
{% macro f() %}{{ caller('a', 2) }}{% endmacro %}{% call(x, y) f() %}{{ x }}{{ y }}{% endcall %}{{ x }}
{% macro f() %}{{ caller() if caller else 'none' }}{% endmacro %}{{ f() }}
{% macro f() %}x{% endmacro %}{% call f() %}y{% endcall %}
{% macro f(x) %}{{ x | upper }}{% endmacro %}{{ f('a') ~ f('b') }} {{ f('a') | length }} {{ f('a') is string }} {{ ['a'] | map('upper') | list }}
{% filter upper | replace('A', 'b') %}a {{ one }}{% endfilter %}
{% filter trim %}  {% set z = 1 %}a{{ z }}  {% endfilter %}[{{ z }}]
{% with a = 1, b = a %}{{ a }}{{ b }}{% endwith %}{{ a }}
{% with %}{% set w = 1 %}{{ w }}{% endwith %}{{ w }}
{% with one = 5 %}{{ one }}{% endwith %}{{ one }}
{% print 1, 'a', none %}
{% if one == 1 %}a{% elif one == 2 %}b{% else %}c{% endif %}{% if not one %}a{% elif one %}b{% endif %}{% if n %}a{% else %}c{% endif %}
{% if 1, %}tuple{% endif %}
{% if %}
{% for %}{% endfor %}
{% endif %}
{% unknown %}
{{
{{ 1
{% if one %}
{{ a b }}
{{ [1, 2 }}
{{ (1, 2] }}
{{ 'open }}
{# open
{{ 1 ! 2 }}
{{ f(a=1, a=2) }}
{{ f(a=1, 2) }}
{{ f(**d, a) }}
{% break %}
{% macro f() %}{% break %}{% endmacro %}
{% for a in [1] %}{% macro f() %}{% break %}{% endmacro %}{% endfor %}
{% set true = 1 %}
{% set 1 = 1 %}
{% set a.b.c = 1 %}
{% set f() = 1 %}
{% macro f(a, a) %}{% endmacro %}
{% macro f(a=1, b) %}{% endmacro %}
{% include 'x' %}
{% extends 'x' %}
{% import 'x' as y %}
a {# comment #} b{#- c -#} d
{{ '{{' }} {{ '%}' }} {{ {'a': {'b': 1}}['a']['b'] }} {{ {'a': 1,} }} {{ [1,] }}
{{ {'a': 1, 'a': 2} }} {{ {1: 'a', 1.0: 'b', true: 'c'} }} {{ {(1, 2): 'x'}[(1, 2)] }} {{ {none: 1}[none] }}
{{ {[1]: 2} }}
{{ d[[1]] }}|{{ d[none] }}|{{ none.x }}|{{ one.x }}|{{ none['x'] }}
{{ dict(a=1, b=2) }} {{ dict([('a', 1)], b=2) }} {{ dict({'a': 1}) }}
{% set j = joiner('; ') %}{% for a in list %}{{ j() }}{{ a }}{% endfor %}
{% set c = cycler('a', 'b') %}{{ c.next() }}{{ c.next() }}{{ c.next() }}{{ c.current }}
{{ raise_exception('no') }}
{{ strftime_now('%%') }}
{{ one | string ~ 'a' | upper }} {{ 'a' ~ 'b' | upper }} {{ ('a' ~ 'b') | upper }} {{ -1 | abs }} {{ (-1) | abs }} {{ -one | string }} {{ not one == 2 }} {{ 1 + 2 * 3 - 4 }} {{ (1 + 2) * 3 }} {{ 2 * 3 % 4 }}
{{ list | length > 2 and list | first == 3 }} {{ list | length is eq 3 }} {{ 'a' in words and 'q' not in words }} {{ 1 in [1] == true }}
{{ text | trim | lower | replace('o', '0') | length }} {{ text.strip().lower().split(',')[1].strip() | title }}
{{ 'a'.upper }}
{{ [].copy() }} {{ list.index(1) }} {{ list.count(3) }} {{ (1, 1).count(1) }} {{ d.copy() == d }}
{{ list.index(9) }}
{{ 'abc'.format }}
{{ 5.upper }}
{{ 1.5.real }}
{{ true.x }}|{{ 'a'['b'] }}|{{ messages[0].toString is defined }}|{{ messages[0].constructor is defined }}|{{ messages.length is defined }}
{{ messages | map(attribute='content') | join(' ') }} {{ messages | selectattr('role', 'equalto', 'user') | list | length }} {{ (messages | last).content }} {{ messages[-1]['content'] }} {{ messages[1:] | length }} {{ messages[::-1][0].role }}
{{ messages[1].tool_calls is none }} {{ messages[0].tool_calls is none }} {{ messages[0].tool_calls is defined and messages[0].tool_calls }} {{ 'tool_calls' in messages[1] }} {{ messages[0] }}
{% generation %}{% set g = 1 %}a{{ g }}{% endgeneration %}{{ g }}
{{ self }}
{{ 'İstanbul'.lower() | length }} {{ 'ŉ'.upper() }} {{ 'ﬁ'.upper() }}
{{ (1 < 2) | string }} {{ 1.0 == 1 }} {{ '1.0' | float == 1 }} {{ 0.1 + 0.2 == 0.3 }} {{ 10 // 3 * 3 + 10 % 3 }} {{ 1e3 | int }} {{ 7 / 2 | int }}
{{ [1, 2] | tojson | safe }} {{ ([1, 2] | tojson)[0] }} {{ {'a': 'é'} | tojson }} {{ '/' | tojson }} {{ '\x7f\x1f' | tojson }} {{ 1e100 | tojson }} {{ 0.1 | tojson }}
""".strip("\n").split("\n")

# Over several lines: white space around tags.
SNIPPETS += [
    "a\n{% if one %}\nb\n{% endif %}\nc\n",
    "a\n  {% if one %}\n  b\n  {%- endif %}\n  c\n\n",
    "a\n  {%+ if one %}b{% endif +%}\nc",
    "  {{ one }}\n  {# note #}\n  x {# note #}\n  y\n",
    "{%- for a in list -%}\n  {{ a }}\n{%- endfor -%}\n z",
    "{% for a in list %}\n  {{- a }},\n{% endfor %}\n",
    "x {%- if one -%} y {%- endif -%} z",
    "{{- one -}}  a  {{- one }}\n\n{{ one -}}\n\nb",
    "\r\na\r\n{% if one %}\r\nb\r{% endif %}\r\nc\r\n",
    "a\u00a0\u2003{%- if one %}b{% endif -%}\u3000\u0085c\ufeff{%- if one %}d{% endif %}",
    "\t {% set a = 1 %}\t\n{{ a }}\n",
    "  {% raw %}\n  {{ x }}\n  {% endraw %}\n  y\n",
    "a{#- b -#}\n\n c {#+ d +#}\n e",
    "{{ [1,\n 2,\n # no comment\n 3] }}",
    "{{ {\n  'a': 1,\n  'b': [2]\n} }}\n\n",
    "{% set x = 'a\n  b' %}\n{{ x }}",
    "{% if one\n  and yes %}\n\nok\n\n{% endif %}\n",
    "\n\n",
    "{{ one }}{% if one %}\n{% endif %}\n{{ one }}\n",
    "{# a #}\n{# b #}\n  {# c #}  \n{{ one }}",
    "{% macro f() %}\n  x\n{% endmacro %}\n[{{ f() }}]\n[{{- f() -}}]\n",
    "  {%- set a %}\n  b\n  {%- endset %}\n[{{ a }}]",
]
